package cli

import "github.com/spf13/cobra"

// NoArgs is for commands that take flags alone. The library's own one calls an
// argument an unknown command.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
