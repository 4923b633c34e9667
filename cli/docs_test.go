package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command in the documents is one that there is, with flags that there are.
func TestCommandsInDocumentsExist(t *testing.T) {
	seen := 0
	for _, file := range []string{"../README.md", "../docs/services.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			command, ok := strings.CutPrefix(line, "    ")
			command = strings.TrimPrefix(command, "bin/")
			command, _, _ = strings.Cut(command, " #")
			args := strings.Fields(command)
			if !ok || len(args) < 2 || args[0] != "stoa" {
				continue
			}
			root := &cobra.Command{Use: "stoa"}
			commands(root, &session{})
			Prepare(root)
			c, rest, err := root.Find(args[1:])
			if c == root {
				continue // a role, which is another package's
			}
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err == nil && c.Args != nil {
				err = c.Args(c, c.Flags().Args())
			}
			if err != nil || c.HasSubCommands() {
				t.Errorf("%s: %s: %v", file, strings.TrimSpace(command), err)
			}
			seen++
		}
	}
	if seen < 25 {
		t.Errorf("only %d commands were found", seen)
	}
}
