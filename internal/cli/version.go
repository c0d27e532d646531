package cli

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version describes the running program as the Go toolchain recorded it: module
// version, or the commit (with "+dirty" for a changed tree) where there is none,
// and the Go release.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
		if commit := setting(info, "vcs.revision"); commit != "" {
			version += "-" + commit[:min(12, len(commit))]
		}
		if setting(info, "vcs.modified") == "true" {
			version += "+dirty"
		}
	}
	return fmt.Sprintf("%s (%s)", version, info.GoVersion)
}

// setting returns a build setting by its key, or "".
func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// versionCommand is "NAME version", the same as --version.
func versionCommand(env *Env, name string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(env.Stdout, "%s %s\n", name, Version())
			return err
		},
	}
}
