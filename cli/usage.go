package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Prepare makes every mistake in a command line of root end alike: in one line that says
// what is wrong, one that says what to try, and ExitUsage. It is called when root has all
// its commands.
func Prepare(root *cobra.Command) {
	root.SetFlagErrorFunc(wrongFlag)
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
		c.Args = func(c *cobra.Command, given []string) error {
			err := args(c, given)
			if err != nil {
				return wrongArguments(c, given, err)
			}
			if required, _ := takes(c.Use); len(required) > 0 && required[0] == "APP" && strings.Trim(given[0], "/") == "" {
				return &Error{What: fmt.Sprintf("%q names no app", given[0]), Try: listings["APP"] + ", or stoa group --help for all of a group", Code: ExitUsage}
			}
			return nil
		}
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

// takes are the arguments that a command's usage names: APP, [VERSION]. Flags named there
// are left out, with what they take.
func takes(use string) (required, optional []string) {
	words := strings.Fields(use)[1:]
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "[flags]" || w == "--":
		case strings.HasPrefix(w, "-"):
			i++
		case strings.HasPrefix(w, "["):
			optional = append(optional, strings.Trim(w, "[]"))
		default:
			required = append(required, w)
		}
	}
	return required, optional
}

// listings say which there are of what a command takes.
var listings = map[string]string{
	"APP": "stoa app list", "GROUP": "stoa group list", "DEPLOYMENT": "stoa deployment list",
	"TASK|RUN…": "stoa ps", "TASK|RUN|APP": "stoa app list or stoa ps",
}

// spoken is the name of arguments in a sentence.
func spoken(names []string) string {
	return strings.NewReplacer("|", " or ", "…", "").Replace(strings.Join(names, " and "))
}

// wrongArguments says which arguments are missing, or are too many.
func wrongArguments(c *cobra.Command, given []string, err error) error {
	required, optional := takes(c.Use)
	all := slices.Concat(required, optional)
	e := &Error{What: err.Error(), Try: c.CommandPath() + " --help", Code: ExitUsage}
	switch {
	case len(given) < len(required):
		missing := required[len(given):]
		e.What = spoken(missing) + " is missing"
		if len(missing) > 1 {
			e.What = spoken(missing) + " are missing"
		}
		e.Try = clean(strings.Join(slices.Concat([]string{c.CommandPath()}, given, missing), " "))
		if from := listings[missing[0]]; from != "" {
			e.Try += ", with one of " + from
		}
	case len(given) > len(all):
		e.What = fmt.Sprintf("%q is too much", given[len(all)])
		e.Why = c.CommandPath() + " takes " + spoken(all)
		if len(all) == 0 {
			e.Why = c.CommandPath() + " takes flags only"
		}
		if c.Flags().Lookup("file") != nil {
			e.Try = clean(c.CommandPath() + " -f " + given[0])
		}
	}
	return e
}

// wrongFlag puts what is wrong with a flag into words.
func wrongFlag(c *cobra.Command, err error) error {
	e := &Error{What: err.Error(), Try: c.CommandPath() + " --help", Code: ExitUsage}
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			e.What = fmt.Sprintf("%s has no flag -%s", c.CommandPath(), name)
			if strings.TrimFunc(short, unicode.IsDigit) == "" {
				e.What, e.Why = "-"+short+" is taken for a flag", "no number may be below 0 here"
			}
			break
		}
		e.What = fmt.Sprintf("%s has no flag --%s", c.CommandPath(), clean(name))
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if near := nearest(name, names); near != "" {
			e.Why = fmt.Sprintf("did you mean --%s?", near)
		}
	case errors.As(err, &bare):
		f := bare.GetFlag()
		placeholder, _ := pflag.UnquoteUsage(f)
		e.What = fmt.Sprintf("--%s needs a value", f.Name)
		e.Try = fmt.Sprintf("--%s %s; %s --help says more", f.Name, strings.ToUpper(placeholder), c.CommandPath())
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		e.What = fmt.Sprintf("--%s takes no %q", f.Name, invalid.GetValue())
		switch kind := f.Value.Type(); kind {
		case "int", "int64":
			e.Why = "it takes a whole number"
		case "float64":
			e.Why = "it takes a number"
		case "bool":
			e.Why = "it takes true or false"
		default:
			e.Why = invalid.Unwrap().Error()
		}
	}
	return e
}
