package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// Prepare makes every mistake in a command line of root end alike: in one line that says
// what is wrong, one that says what to try, and ExitUsage. It is called when root has all
// its commands.
func Prepare(root *cobra.Command) {
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return wrong(c, err) })
	prepare(root)
}

func prepare(c *cobra.Command) {
	if c.HasSubCommands() {
		// Without a function of its own, cobra refuses unknown commands in its own words.
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		c.SuggestionsMinimumDistance = 2
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			e := &Error{What: fmt.Sprintf("%s has no command %q", c.CommandPath(), args[0]), Try: c.CommandPath() + " --help", Code: ExitUsage}
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				e.Try = c.CommandPath() + " " + near[0]
			}
			return e
		}
		for _, sub := range c.Commands() {
			prepare(sub)
		}
		return
	}
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error { return wrong(c, args(c, given)) }
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			err := run(c, args)
			var e *Error
			if errors.As(err, &e) && e.Code == ExitUsage && e.Try == "" {
				e.Try = c.CommandPath() + " --help"
			}
			return err
		}
	}
}

func wrong(c *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return &Error{What: err.Error(), Try: c.CommandPath() + " --help", Code: ExitUsage}
}
