// Package scheduler is for authors of frameworks: it keeps a framework subscribed to
// whichever master leads and hands its events to functions.
//
//	err := scheduler.Run(ctx, scheduler.Config{
//		Masters:   []string{"127.0.0.1:5050"},
//		Framework: &mesos.FrameworkInfo{User: proto.String("root"), Name: proto.String("hello")},
//	}, scheduler.Handler{Offers: offers, Update: update})
//
// It speaks only the v1 scheduler API (Mesos 1.11, docs/scheduler-http-api.md), so it works
// with a real Mesos too. examples/hello-framework is a whole framework in about 60 lines;
// package sdktest has a master in memory for its tests.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/sdk/internal/stream"
	"google.golang.org/protobuf/proto"
)

// Codec is an encoding of calls and events.
type Codec = stream.Codec

// The encodings. Protobuf is smaller and faster; JSON can be read on the wire.
const (
	Protobuf = stream.Protobuf
	JSON     = stream.JSON
)

// StatusError is the answer of a master that refused a call: HTTP status and text.
type StatusError = stream.StatusError

// Config is what Run needs to know. Masters and Framework are required.
type Config struct {
	// Masters are addresses to try, "host:port" or URLs ("https://host:port"). One that
	// does not lead tells where the leader is.
	Masters []string
	// Framework describes the framework. Its id is filled in from Store unless set; set
	// failover_timeout, or a lost connection ends its tasks at once.
	Framework *mesos.FrameworkInfo
	// SuppressedRoles get no offers until revived.
	SuppressedRoles []string
	// OfferConstraints restrict which agents' offers come at all; nil for none.
	OfferConstraints *schedulerpb.OfferConstraints
	// Store keeps the framework's id, so that a restarted framework finds its tasks
	// again. Default: in memory, which survives lost connections only.
	Store Store
	// Codec defaults to Protobuf.
	Codec Codec
	// Principal and Secret are sent as basic authentication; empty for none.
	Principal, Secret string
	// HTTPClient is for TLS and the like; its timeout and redirect policy are not used.
	// It should keep at least two connections per host alive.
	HTTPClient *http.Client
	// ManualAcknowledge leaves Caller.Acknowledge to the handler. Otherwise an update is
	// acknowledged when Handler.Update has returned nil.
	ManualAcknowledge bool
	// MaxBackoff is the longest wait between attempts to subscribe; default 5 s.
	MaxBackoff time.Duration
	// Logger gets one line when a subscription begins or ends; default slog.Default().
	Logger *slog.Logger
}

// Handler has a function per event; nil ones do nothing, except that without Offers all
// offers are declined. They are called one at a time, in the order of the events, and
// while one runs nothing else is read from the master: work that takes long belongs in a
// goroutine. ctx ends when the subscription does.
//
// A function that returns nil goes on to the next event. Stop ends Run without an error.
// An error that wraps ErrDisconnected, as those of a Caller do when the master is gone,
// leads to a new subscription. Every other error ends Run.
type Handler struct {
	// Subscribed comes first on every subscription; Caller.FrameworkID is known now. It
	// is the place to reconcile.
	Subscribed func(ctx context.Context, c *Caller, e *schedulerpb.Event_Subscribed) error
	// Disconnected tells that the subscription ended and will be tried again. Offers
	// made on it are void.
	Disconnected func(cause error)
	// Offers must each be accepted or declined; one not answered is rescinded in time.
	Offers func(ctx context.Context, c *Caller, offers []*mesos.Offer) error
	// Rescinded takes an offer back.
	Rescinded func(ctx context.Context, c *Caller, offer *mesos.OfferID) error
	// InverseOffers ask for resources back before maintenance.
	InverseOffers func(ctx context.Context, c *Caller, offers []*mesos.InverseOffer) error
	// InverseOfferRescinded takes an inverse offer back.
	InverseOfferRescinded func(ctx context.Context, c *Caller, offer *mesos.OfferID) error
	// Update reports a task's state, at least once and in order per task. It comes
	// again until it is acknowledged.
	Update func(ctx context.Context, c *Caller, status *mesos.TaskStatus) error
	// OperationUpdate reports an operation that was given an id. It is acknowledged as
	// Update is.
	OperationUpdate func(ctx context.Context, c *Caller, status *mesos.OperationStatus) error
	// Message is data an executor sent; it may be lost.
	Message func(ctx context.Context, c *Caller, m *schedulerpb.Event_Message) error
	// Failure tells that an agent is gone, or, with an executor id, that the executor
	// ended. It may be lost.
	Failure func(ctx context.Context, c *Caller, f *schedulerpb.Event_Failure) error
}

// Stop, returned by a Handler's function, ends Run without an error. The framework stays
// registered for its failover_timeout; Caller.Teardown ends it for good.
var Stop = errors.New("stop")

// ErrDisconnected is wrapped by the errors of calls that reached no leading master to
// which the framework is subscribed. The call may have had an effect or not.
var ErrDisconnected = errors.New("not subscribed to a leading master")

// FrameworkError is an ERROR event: the master refuses the framework, or another instance
// of it has taken over ("Framework failed over"). Trying again would not help.
type FrameworkError struct{ Message string }

func (e *FrameworkError) Error() string { return "the master refuses the framework: " + e.Message }

const (
	defaultHeartbeat = 15 * time.Second
	// missedHeartbeats is how many may fail to come before a subscription is given up
	// (Mesos 1.11, docs/scheduler-http-api.md).
	missedHeartbeats = 5
	subscribeTimeout = 15 * time.Second
	callTimeout      = 30 * time.Second
	maxRedirects     = 5
)

// Run subscribes and handles events until the handler stops it (nil or its error), the
// framework is torn down (nil), the master refuses it (*FrameworkError), the configuration
// cannot work, or ctx ends (its cause). Lost connections and masters are none of these:
// Run subscribes again, with growing pauses, for as long as it takes.
func Run(ctx context.Context, cfg Config, h Handler) error {
	s, err := newSession(ctx, cfg, h)
	if err != nil {
		return err
	}
	if cfg.HTTPClient == nil {
		defer s.client.CloseIdleConnections()
	}
	return s.run(ctx)
}

type session struct {
	cfg    Config
	h      Handler
	log    *slog.Logger
	client *http.Client
	// masters are the configured ones; next is the one to try next, leader the one a
	// redirect or an earlier subscription named, if any.
	masters []*url.URL
	next    int
	leader  *url.URL
	backoff stream.Backoff
	caller  *Caller
}

func newSession(ctx context.Context, cfg Config, h Handler) (*session, error) {
	masters, err := parseMasters(cfg.Masters)
	if err != nil {
		return nil, err
	}
	if cfg.Framework == nil {
		return nil, errors.New("scheduler: Config.Framework is missing: describe the framework, at least with user and name")
	}
	if cfg.Store == nil {
		cfg.Store = new(MemoryStore)
	}
	if cfg.MaxBackoff <= 0 {
		cfg.MaxBackoff = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	client := stream.NewClient(nil)
	if cfg.HTTPClient != nil {
		client = stream.Prepare(cfg.HTTPClient)
	}
	info := proto.CloneOf(cfg.Framework)
	if info.GetId().GetValue() == "" {
		info.Id = nil
		id, err := cfg.Store.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("loading the framework's id: %w", err)
		}
		if id != "" {
			info.Id = &mesos.FrameworkID{Value: proto.String(id)}
		}
	}
	return &session{
		cfg: cfg, h: h, client: client, masters: masters,
		log:     cfg.Logger.With("framework", info.GetName()),
		backoff: stream.Backoff{Min: 100 * time.Millisecond, Max: cfg.MaxBackoff},
		caller:  newCaller(info, cfg.SuppressedRoles, cfg.OfferConstraints),
	}, nil
}

func (s *session) run(ctx context.Context) error {
	for {
		err := s.subscription(ctx)
		s.caller.detach()
		switch {
		case ctx.Err() != nil && !errors.Is(err, Stop) && !errors.Is(err, errTornDown):
			return context.Cause(ctx)
		case errors.Is(err, errTornDown):
			if err := s.cfg.Store.Save(context.WithoutCancel(ctx), ""); err != nil {
				return fmt.Errorf("the framework is torn down, but forgetting its id failed: %w", err)
			}
			return nil
		case errors.Is(err, Stop):
			return nil
		case !errors.Is(err, ErrDisconnected):
			return err
		}
		pause := s.backoff.Next()
		s.log.Warn("not subscribed", "err", err, "retry", pause.Round(time.Millisecond))
		if err := stream.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// subscription subscribes once and handles events to the end. Its error is never nil and
// wraps ErrDisconnected if another attempt makes sense.
func (s *session) subscription(ctx context.Context) error {
	st, at, err := s.subscribe(ctx)
	if err != nil {
		return err
	}
	err = s.events(ctx, st, at)
	st.Close(err)
	// A handler may have seen its call fail because the master ended the framework.
	if s.caller.tornDown() {
		return errTornDown
	}
	if errors.Is(err, ErrDisconnected) && s.h.Disconnected != nil {
		s.h.Disconnected(err)
	}
	return err
}

// subscribe opens a stream at the leader, following redirects, and says where that is.
func (s *session) subscribe(ctx context.Context) (*stream.Stream, *stream.Endpoint, error) {
	target := s.leader
	if target == nil {
		target = s.masters[s.next%len(s.masters)]
		s.next++
	}
	s.leader = nil
	for range maxRedirects {
		at := &stream.Endpoint{URL: target, Client: s.client, Codec: s.cfg.Codec, Header: s.credentials()}
		st, err := at.Subscribe(ctx, s.caller.subscribeCall(), subscribeTimeout)
		if err == nil {
			s.leader = target
			return st, at, nil
		}
		var se *StatusError
		if !errors.As(err, &se) {
			return nil, nil, fmt.Errorf("%w: subscribing at %s: %w", ErrDisconnected, target.Host, err)
		}
		if se.Status == http.StatusTemporaryRedirect && se.Location != nil {
			if target, err = follow(target, se.Location); err != nil {
				return nil, nil, fmt.Errorf("%w: %w", ErrDisconnected, err)
			}
			continue
		}
		if se.Status < 500 {
			return nil, nil, fmt.Errorf("subscribing at %s: %w", target.Host, se)
		}
		return nil, nil, fmt.Errorf("%w: subscribing at %s: %w", ErrDisconnected, target.Host, se)
	}
	return nil, nil, fmt.Errorf("%w: more than %d redirects, the last to %s", ErrDisconnected, maxRedirects, target.Host)
}

func (s *session) credentials() http.Header {
	if s.cfg.Principal == "" {
		return nil
	}
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(s.cfg.Principal, s.cfg.Secret)
	return req.Header
}

func (s *session) events(ctx context.Context, st *stream.Stream, at *stream.Endpoint) error {
	patience := missedHeartbeats * defaultHeartbeat
	for subscribed := false; ; {
		var e schedulerpb.Event
		if err := st.Next(&e, patience); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: the stream from %s ended: %w", ErrDisconnected, at.URL.Host, err)
		}
		if sub := e.GetSubscribed(); sub != nil {
			subscribed = true
			if sec := sub.GetHeartbeatIntervalSeconds(); sec > 0 && sec < 3600 {
				patience = missedHeartbeats * time.Duration(sec*float64(time.Second))
			}
			if err := s.cfg.Store.Save(ctx, sub.GetFrameworkId().GetValue()); err != nil {
				return fmt.Errorf("saving the framework's id: %w", err)
			}
			s.caller.attach(st, at, sub.GetFrameworkId())
			s.backoff.Reset()
			s.log.Info("subscribed", "framework_id", sub.GetFrameworkId().GetValue(), "master", at.URL.Host)
		} else if !subscribed && e.GetError() == nil {
			return fmt.Errorf("%w: %s sent %s before SUBSCRIBED", ErrDisconnected, at.URL.Host, e.GetType())
		}
		if err := s.dispatch(st.Context(), &e); err != nil {
			// A handler that waited for something saw the subscription end.
			if cause := context.Cause(st.Context()); cause != nil && ctx.Err() == nil && errors.Is(err, cause) && !errors.Is(err, errTornDown) {
				return fmt.Errorf("%w: the stream from %s ended: %w", ErrDisconnected, at.URL.Host, err)
			}
			return err
		}
	}
}

func (s *session) dispatch(ctx context.Context, e *schedulerpb.Event) error {
	h, c := s.h, s.caller
	switch e.GetType() {
	case schedulerpb.Event_SUBSCRIBED:
		return handle(ctx, c, h.Subscribed, e.GetSubscribed())
	case schedulerpb.Event_OFFERS:
		if h.Offers == nil {
			ids := make([]*mesos.OfferID, 0, len(e.GetOffers().GetOffers()))
			for _, o := range e.GetOffers().GetOffers() {
				ids = append(ids, o.GetId())
			}
			return c.Decline(ctx, ids, nil)
		}
		return h.Offers(ctx, c, e.GetOffers().GetOffers())
	case schedulerpb.Event_RESCIND:
		return handle(ctx, c, h.Rescinded, e.GetRescind().GetOfferId())
	case schedulerpb.Event_INVERSE_OFFERS:
		return handle(ctx, c, h.InverseOffers, e.GetInverseOffers().GetInverseOffers())
	case schedulerpb.Event_RESCIND_INVERSE_OFFER:
		return handle(ctx, c, h.InverseOfferRescinded, e.GetRescindInverseOffer().GetInverseOfferId())
	case schedulerpb.Event_UPDATE:
		status := e.GetUpdate().GetStatus()
		err := handle(ctx, c, h.Update, status)
		if (err == nil || errors.Is(err, Stop)) && !s.cfg.ManualAcknowledge {
			if ack := c.Acknowledge(ctx, status); ack != nil {
				return ack
			}
		}
		return err
	case schedulerpb.Event_UPDATE_OPERATION_STATUS:
		status := e.GetUpdateOperationStatus().GetStatus()
		err := handle(ctx, c, h.OperationUpdate, status)
		if (err == nil || errors.Is(err, Stop)) && !s.cfg.ManualAcknowledge {
			if ack := c.AcknowledgeOperation(ctx, status); ack != nil {
				return ack
			}
		}
		return err
	case schedulerpb.Event_MESSAGE:
		return handle(ctx, c, h.Message, e.GetMessage())
	case schedulerpb.Event_FAILURE:
		return handle(ctx, c, h.Failure, e.GetFailure())
	case schedulerpb.Event_ERROR:
		return &FrameworkError{e.GetError().GetMessage()}
	}
	return nil // HEARTBEAT, and what later versions add
}

func handle[T any](ctx context.Context, c *Caller, f func(context.Context, *Caller, T) error, v T) error {
	if f == nil {
		return nil
	}
	return f(ctx, c, v)
}
