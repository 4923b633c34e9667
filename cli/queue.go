package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stoa-kernel/stoa/api/marathon"
)

func queueCommand(s *session) *cobra.Command {
	c := &cobra.Command{Use: "queue", Short: "See which apps wait to be launched"}
	c.AddCommand(queueListCommand(s), queueResetCommand(s))
	return c
}

func queueListCommand(s *session) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "list",
		Short: "List apps with instances that wait to be launched",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			rows, err := svc.queue(c.Context())
			if err != nil {
				return err
			}
			return list(&o, s.out, rows, []column[marathon.QueueItem]{
				{"APP", false, func(q marathon.QueueItem) string { return q.App.ID }},
				{"WAITING", false, func(q marathon.QueueItem) string { return strconv.Itoa(q.Count) }},
				{"SINCE", false, func(q marathon.QueueItem) string { return ageOf(q.Since) }},
				{"FOR", false, func(q marathon.QueueItem) string {
					if !q.Delay.Overdue {
						return fmt.Sprintf("%ds of its backoff", q.Delay.TimeLeftSeconds)
					}
					return "an offer"
				}},
				{"OFFERS", false, func(q marathon.QueueItem) string {
					return strconv.Itoa(q.ProcessedOffersSummary.ProcessedOffersCount)
				}},
				{"LAST DECLINED FOR", false, func(q marathon.QueueItem) string {
					var out []string
					for _, d := range q.ProcessedOffersSummary.RejectSummaryLastOffers {
						if d.Declined > 0 {
							out = append(out, fmt.Sprintf("%s %d/%d", d.Reason, d.Declined, d.Processed))
						}
					}
					return strings.Join(out, ", ")
				}},
				{"ROLE", true, func(q marathon.QueueItem) string { return q.Role }},
			}, "Nothing waits to be launched.")
		},
	}
	o.flags(c)
	return c
}

func queueResetCommand(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "reset APP",
		Short: "Start now: end the backoff of an app",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			svc, err := s.service(c.Context())
			if err != nil {
				return err
			}
			id := appID(args[0])
			if err := svc.call(c.Context(), http.MethodDelete, escaped("/v2/queue"+id)+"/delay", nil, nil, nil); isNotFound(err) {
				if _, err := existing(c.Context(), svc, id, nil); err != nil {
					return err
				}
				return &Error{What: id + " waits for nothing", Why: "no instance of it is to be launched", Try: "stoa queue list lists what waits; stoa why " + id, Code: ExitNotFound}
			} else if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%s may start again at once\n", id)
			return nil
		},
		ValidArgsFunction: s.completeApps,
	}
}
