package main

import (
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// completeTree lets shells complete the one tree that a command names: those of the
// boot directory of --dir, as far as its records can be read.
func completeTree(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir := cmd.Flag("dir").Value.String()
	if dir == "" || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	d, err := bootdir.View(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer d.Close()
	trees, _ := d.Trees() // what cannot be read is not offered
	var list []cobra.Completion
	for _, t := range trees {
		list = append(list, cobra.CompletionWithDesc(t.Live, t.Reference))
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeDir lets shells complete the directory of a mirror.
func completeDir(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}
