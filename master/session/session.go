// Package session holds the connections that last: the event streams of frameworks and
// the links of agents. Each has one writing goroutine and a bounded queue, so that the
// loop hands over what it has to say without ever waiting for a peer.
//
// A framework that does not read is cut off and may subscribe again. An
// agent's link first holds back the frameworks that launch tasks on it (Links.Room) and
// is broken only far beyond that; what was lost with it is sent again when the agent
// registers again.
package session

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/stoa-kernel/stoa/master/state"
)

// Submit hands an input to the loop. It waits while the loop is behind and fails only
// if the loop has ended or ctx has.
type Submit func(ctx context.Context, in state.Input) error

// ErrClosed says that the master is going down or has lost its leadership.
var ErrClosed = errors.New("this master serves no more sessions")

// Defaults of the fields of the same name.
const (
	// DefaultHeartbeat is between two HEARTBEAT events; SUBSCRIBED announces it.
	DefaultHeartbeat = 15 * time.Second
	// DefaultStall is for how long a peer may take nothing while there is something.
	DefaultStall = 10 * time.Second
	// DefaultStreamLimit is how many bytes may wait for a framework, counted in
	// protobuf whatever its codec.
	DefaultStreamLimit = 16 << 20
	// DefaultSilence is for how long an agent may say nothing. The core's pings count
	// first: 5 of them, 15 s apart.
	DefaultSilence = 90 * time.Second
	// DefaultHello is how long an agent has for its first frame.
	DefaultHello = 10 * time.Second
	// DefaultLinkRoom is above how many waiting bytes launches on an agent are held
	// back, DefaultLinkLimit above how many the link is broken.
	DefaultLinkRoom  = 4 << 20
	DefaultLinkLimit = 64 << 20
)

// chunk is how much is written under one deadline: progress is judged by it.
const chunk = 32 << 10

// progress writes in chunks, each with a deadline of its own: a slow peer is given
// time, one that takes nothing is not.
type progress struct {
	conn  net.Conn
	stall time.Duration
}

func (p progress) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		if err := p.conn.SetWriteDeadline(time.Now().Add(p.stall)); err != nil {
			return written, err
		}
		n, err := p.conn.Write(b[:min(len(b), chunk)])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

func stalled(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
