// Package state is the service framework as a value: the tree of apps, their instances,
// the deployments under way, the launch queue. Step(now, input) says what to do about
// each thing that happens.
//
// An instance's record is durable before its ACCEPT goes out; the tree's new version is
// written last, after the versions of its apps, so that a crash in between shows the old
// tree. Everything else can be worked out again: deployments look at instances, the queue
// is what is missing.
package state

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stoa-kernel/stoa/api/marathon"
	"github.com/stoa-kernel/stoa/internal/loop"
	"github.com/stoa-kernel/stoa/kernel/clock"
	"github.com/stoa-kernel/stoa/service/app"
	"github.com/stoa-kernel/stoa/service/deploy"
	"github.com/stoa-kernel/stoa/service/instance"
	"github.com/stoa-kernel/stoa/service/match"
)

// Config are the settings; a zero duration is the default of Marathon's flag.
type Config struct {
	App  app.Options
	Task match.TaskOptions
	// MaxDeployments that run at a time; 0 is 100.
	MaxDeployments int
	// MaxVersions kept of an app; 0 is 50.
	MaxVersions int
	// Seed of instance ids and host ports.
	Seed uint64
	// MaxPerOffer bounds launches from one offer; 0 is no bound of its own.
	MaxPerOffer int
	// LaunchConfirm is how long a launched task may stay without a status, LaunchTimeout
	// how long it may be staging; default 5 min each. Then it is killed.
	LaunchConfirm, LaunchTimeout time.Duration
	// ReservationTimeout is how long a reservation may stay unconfirmed; default 20 s.
	ReservationTimeout time.Duration
	// KillRetry is the pause between KILLs of a task that does not end; default 30 s.
	KillRetry time.Duration
	// Decline is how long an offer that fits nothing stays away; default 120 s.
	Decline time.Duration
	// Revive is the least time between two calls of it; default 200 ms.
	Revive time.Duration
	// Reconcile is the pause between reconciliations; default 10 min.
	Reconcile time.Duration
	// Draining is how long before its maintenance an agent is avoided.
	Draining time.Duration
	// NoMaintenance uses agents in maintenance like others (--maintenance_mode=false).
	NoMaintenance bool
	// WasteGPUs lets any app use agents with GPUs (--gpu_scheduling_behavior=unrestricted).
	WasteGPUs bool
	// Principal of the framework, "" without authentication.
	Principal string
	// Region is the home region, which apps without a region constraint stay in; "" is any.
	Region string
}

func (c *Config) defaults() {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&c.LaunchConfirm, 5*time.Minute)
	set(&c.LaunchTimeout, 5*time.Minute)
	set(&c.ReservationTimeout, 20*time.Second)
	set(&c.KillRetry, 30*time.Second)
	set(&c.Decline, 120*time.Second)
	set(&c.Revive, 200*time.Millisecond)
	set(&c.Reconcile, 10*time.Minute)
	c.App.Executor = c.Task.Executor
	if c.MaxDeployments == 0 {
		c.MaxDeployments = 100
	}
	if c.MaxVersions == 0 {
		c.MaxVersions = 50
	}
}

// Service is the value.
type Service struct {
	cfg       Config
	rng       *rand.Rand
	framework string
	connected bool
	tree      *app.Tree
	roots     []marathon.Version // kept ones, oldest first
	apps      map[string]*application
	instances map[string]*instance.Instance
	// deployments by id; order is that of their start, for listing and stepping.
	deployments map[string]*deploy.Deployment
	order       []string
	// planParts is how many parts the stored plan of each deployment has.
	planParts map[string]int
	// graves are removed apps of which the store still has versions, groups the last stored
	// version of each group. leftovers are to be collected, those first that can be first.
	graves    map[string]grave
	groups    map[string]marathon.Version
	leftovers []leftover
	// locks has the deployment that holds each app.
	locks map[string]string
	// waiting are the apps with Scheduled instances, in the order they began to wait;
	// next is where the next round of offers begins, so that none starves.
	// Those that have left it stay until unlist.
	waiting []*application
	left    bool
	next    int
	// bare are instances that the store has although they never ran.
	bare map[string]bool
	// garbage are instances whose reservation is to be given back.
	garbage map[string]bool
	roles   map[string]int // apps by role
	told    []string       // roles the master was told
	// agents that offers came from, and the apps that have an instance on each.
	agents    map[string]*instance.Agent
	followers map[string]bool
	offered   offering
	asking    asking
	timers    loop.Timers[timer]
	armed     time.Duration

	// recalling says that what is set is as the store kept it.
	recalling bool

	// Of the step under way.
	now   clock.Now
	stamp marathon.Version // now, as events tell it; "" before the first
	out   []Effect
	puts  []Put
	hold  bool     // something of puts must be durable first
	dirty []string // apps that changed
	isDue map[string]bool
}

// application is what the service knows of an app beside its definition. It outlives the
// definition until its last instance is gone.
type application struct {
	id string
	// def is the current definition, nil once the app was removed.
	def *marathon.App
	// uses are the definitions that instances or def need, stored all versions kept.
	uses   map[marathon.Version]*marathon.App
	stored []marathon.Version
	// removed is the tree's version that removed it.
	removed marathon.Version
	// list has the instances in no particular but deterministic order; at is each one's
	// place.
	list []*instance.Instance
	at   map[string]int
	// scheduled are instances waiting for an offer, first come first served; some may
	// have left that condition since.
	scheduled []string
	queued    map[string]bool
	waits     int
	tallies   []deploy.Tally // by version, for deployments and what is shown
	placed    *match.Placed
	queue     *Queue
	listed    bool // in Service.waiting
	backoff   *Backoff
	attempts  *Attempts
	failures  int
	// holds are apps that wait for offers and depend on this one; serves is whether they
	// were free to go when it was last looked at.
	holds  map[string]bool
	serves bool
}

// New makes an empty one; the first input is Recovered.
func New(cfg Config) *Service {
	cfg.defaults()
	return &Service{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0)),
		tree: app.NewTree(cfg.App),
		apps: make(map[string]*application), instances: make(map[string]*instance.Instance),
		deployments: make(map[string]*deploy.Deployment), locks: make(map[string]string),
		garbage: make(map[string]bool), roles: make(map[string]int), agents: make(map[string]*instance.Agent),
		followers: make(map[string]bool), planParts: make(map[string]int),
		bare: make(map[string]bool), isDue: make(map[string]bool), graves: make(map[string]grave), groups: make(map[string]marathon.Version),
	}
}

// Step changes the service by one input and returns what follows from it. The slice is
// valid until the next Step.
func (s *Service) Step(now clock.Now, in Input) []Effect {
	s.now, s.stamp, s.out = now, "", s.out[:0]
	switch in := in.(type) {
	case Recovered:
		s.recovered(in)
	case Subscribed:
		s.subscribed(in)
	case Disconnected:
		s.disconnected()
	case Offers:
		s.offers(in.Offers, in.More)
	case Rescinded:
		// Offers are answered in the step that brings them: nothing to forget.
	case Status:
		s.status(in)
	case Operation:
		s.operation(in.Status)
	case AgentFailed:
		s.agentFailed(in.Agent)
	case Agents:
		s.allAgents(in.All)
	case Unsent:
		s.unsent(in.Tasks)
	case Probed:
		s.probed(in)
	case ReadyProbed:
		s.readyProbed(in)
	case Stopped:
		s.stopped(in)
	case Tail:
		s.tail(in)
	case Fired:
		s.fired()
	case CreateApp:
		s.createApp(in)
	case UpdateApps:
		s.updateApps(in)
	case DeleteApp:
		s.deleteApp(in)
	case RestartApp:
		s.restartApp(in)
	case KillTasks:
		s.killTasks(in)
	case CreateGroup:
		s.createGroup(in)
	case UpdateGroup:
		s.updateGroup(in)
	case DeleteGroup:
		s.deleteGroup(in)
	case EnforceRole:
		s.enforceRole(in)
	case PlanApps:
		s.planApps(in)
	case CancelDeployment:
		s.cancelDeployment(in)
	case SteerDeployment:
		s.steerDeployment(in)
	case ResetDelay:
		s.resetDelay(in)
	}
	s.settle()
	s.flush()
	s.arm()
	return s.out
}

// emit adds an effect. All that a step wants kept is durable before any of its effects is
// done, so that a crash leaves nothing of a step or all of it.
func (s *Service) emit(e Effect) { s.out = append(s.out, e) }

// persist stores before the effects of this step are done; save stores soon, unless
// something else of the step has to be there before.
func (s *Service) persist(key string, value any) {
	s.puts = append(s.puts, Put{key, value})
	s.hold = true
}
func (s *Service) save(key string, value any) { s.puts = append(s.puts, Put{key, value}) }

// flush puts what is to be kept before everything else.
func (s *Service) flush() {
	if len(s.puts) == 0 {
		return
	}
	var e Effect = Save{s.puts}
	if s.hold {
		e = Persist{s.puts}
	}
	s.out = slices.Insert(s.out, 0, e)
	s.puts, s.hold = nil, false
}

// touch marks an app to be looked at when the step ends.
func (s *Service) touch(id string) {
	if !s.isDue[id] {
		s.isDue[id] = true
		s.dirty = append(s.dirty, id)
	}
}
