package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
)

func inspectCommand(env *cli.Env) *cobra.Command {
	var flags cli.RegistryFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect [flags] IMAGE",
		Short: "Print what an image says about itself",
		Long: `Print platform, labels, layers and files of a netboot image, or of an artifact
that names its files itself. Only its manifest, its config and the list of
checksums are read, not the payload; "nbpack lint" reads and checks everything.

What refers to the image follows, where that can be found: signatures, and, with
what they say, the provenance and the list of files that "nbpack build
--provenance --sbom" attaches. Whoever may write to the repository can attach
such things; "nbpack verify" with their digest tells whether they are signed.

Of an index the entries are listed, as "nbpack index show" does, but without their
tags, and from archives and directories, too.`,
		Example: `  nbpack inspect registry.example/netboot:debian-12
  nbpack inspect --json oci:./layout:test`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSource(cmd, env, &flags, args[0], func(ref transport.Reference, src transport.Source) error {
				p, body, err := indexAt(cmd.Context(), src)
				if err != nil {
					return err
				}
				if body != nil {
					return inspectIndex(cmd.Context(), env, ref, p, body, asJSON)
				}
				info, err := pack.Inspect(cmd.Context(), p, ref.String())
				if err != nil {
					return err
				}
				attached, err := referrersOf(cmd.Context(), env, src, info.Digest)
				if err != nil {
					return err
				}
				env.StopProgress()
				if asJSON {
					return env.JSON(inspectOutput{info, attached})
				}
				_, err = fmt.Fprint(env.Stdout, infoLines(info)+referrerLines(attached))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	flags.Bind(cmd.Flags())
	return cmd
}

// infoLines shows an image to people. Text from the image is made harmless line
// by line.
func infoLines(info *pack.Info) string {
	var out strings.Builder
	line := func(format string, a ...any) {
		out.WriteString(cli.OneLine(fmt.Sprintf(format, a...)) + "\n")
	}
	line("reference  %s", info.Reference)
	line("digest     %s", info.Digest)
	line("form       %s", info.Form)
	line("platform   %s", info.Platform)
	if info.Created != nil {
		line("created    %s", info.Created.Format(time.RFC3339))
	}
	for _, k := range slices.Sorted(maps.Keys(info.Labels)) {
		line("label      %s=%s", k, info.Labels[k])
	}
	for _, k := range slices.Sorted(maps.Keys(info.Annotations)) {
		if info.Annotations[k] != info.Labels[k] {
			line("annotation %s=%s", k, info.Annotations[k])
		}
	}
	for _, l := range info.Layers {
		line("layer      %s %s %d", l.Digest, l.MediaType, l.Size)
	}
	for _, f := range info.Files {
		line("file       %s  %s", f.SHA256, f.Path)
	}
	return out.String()
}
