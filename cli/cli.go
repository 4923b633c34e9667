// Package cli is the command line that talks to a cluster: it speaks HTTP only, also to
// a cluster in the same process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/sdk/operator"
)

// Exit codes, as `stoa help exit-codes` documents them.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitWaiting     = 2
	ExitNotFound    = 3
	ExitDenied      = 4
	ExitConflict    = 5
	ExitUsage       = 64
	ExitUnreachable = 69
	ExitInterrupted = 130
)

const exitCodes = `Exit codes:
  0    done
  1    failed, or taken back
  2    still waiting for resources, or not done, at the deadline
  3    not found
  4    denied
  5    conflict: locked or changed by someone else
  64   wrong usage
  69   the cluster does not answer
  130  interrupted; a deployment goes on

stoa run ends with the exit code of its command: the first one that is not 0 of its
instances, 128 plus the number for a signal.`

// Error is what a user reads: what happened, why, and what to try.
type Error struct {
	What, Why, Try string
	Code           int
}

func (e *Error) Error() string {
	if e.Why == "" {
		return e.What
	}
	return e.What + ": " + e.Why
}

// Exit ends the process with a code and no message: the output said it all.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func usage(format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Code: ExitUsage}
}

// Report prints err for a person and returns the exit code.
func Report(w io.Writer, err error) int {
	var exit Exit
	var e *Error
	var refused *refusal
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &e):
	case errors.As(err, &refused):
		e = refused.report()
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, operator.ErrUnreachable):
		e = &Error{
			What: "the cluster does not answer",
			Why:  strings.TrimPrefix(err.Error(), operator.ErrUnreachable.Error()+" "),
			Try:  "start one with `stoa up`, or name its address with --addr or STOA_ADDR",
			Code: ExitUnreachable,
		}
	case operator.NotFound(err):
		e = &Error{What: err.Error(), Code: ExitNotFound}
	default:
		e = &Error{What: err.Error(), Code: ExitFailed}
	}
	fmt.Fprintf(w, "error: %s\n", e.What)
	if e.Why != "" {
		fmt.Fprintf(w, "why:   %s\n", e.Why)
	}
	if e.Try != "" {
		fmt.Fprintf(w, "try:   %s\n", e.Try)
	}
	if e.Code == 0 {
		return ExitFailed
	}
	return e.Code
}

// session is what every verb has: where the cluster is and where output goes.
type session struct {
	addr string
	// serviceAddr is the service's, "" to ask the master.
	serviceAddr string
	in          io.Reader
	out, err    io.Writer
}

func (s *session) client() *operator.Client { return operator.New(s.addr, nil) }

// DefaultAddr is where a master listens unless told otherwise.
const DefaultAddr = "127.0.0.1:5050"

// Commands are the verbs that talk to a cluster.
func Commands(root *cobra.Command) {
	commands(root, &session{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

func commands(root *cobra.Command, s *session) {
	root.PersistentFlags().StringVar(&s.addr, "addr", addrFromEnv(), "the master's `address`, host:port or URL (STOA_ADDR)")
	root.PersistentFlags().StringVar(&s.serviceAddr, "service-addr", "", "the service's `address`, host:port or URL (STOA_SERVICE_ADDR); by default the master is asked")
	root.AddCommand(
		runCommand(s), psCommand(s), logsCommand(s), killCommand(s), whyCommand(s),
		agentsCommand(s), frameworksCommand(s), versionCommand(s),
		appCommand(s), groupCommand(s), deploymentCommand(s), queueCommand(s),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodes},
	)
}

func addrFromEnv() string {
	if a := os.Getenv("STOA_ADDR"); a != "" {
		return a
	}
	return DefaultAddr
}

// match finds the one item whose id is name, or begins with it; what is the noun for
// messages.
func match[T any](items []T, name, what string, id func(T) string) (T, error) {
	var found []T
	for _, it := range items {
		if id(it) == name {
			return it, nil
		}
		if strings.HasPrefix(id(it), name) {
			found = append(found, it)
		}
	}
	var none T
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return none, &Error{What: fmt.Sprintf("no %s %q is known", what, name), Try: "stoa " + listing[what] + " lists them", Code: ExitNotFound}
	}
	var ids []string
	for _, it := range found[:min(len(found), 5)] {
		ids = append(ids, id(it))
	}
	return none, &Error{What: fmt.Sprintf("%q begins %d %ss", name, len(found), what), Why: strings.Join(ids, ", "), Try: "more of the id", Code: ExitUsage}
}

var listing = map[string]string{"task": "ps -a", "agent": "agents", "framework": "frameworks", "run": "ps -a", "deployment": "deployment list"}
