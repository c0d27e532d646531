package main

import (
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
	"github.com/nbpack/nbpack/spec"
)

func indexRemoveCommand(env *cli.Env) *cobra.Command {
	var f indexFlags
	var o index.RemoveOptions
	var platform, want, artifactType string
	var annotations []string
	cmd := &cobra.Command{
		Use:   "remove [flags] INDEX",
		Short: "Take one entry out of an index",
		Long: `Take out the one entry of INDEX for which everything holds that is given: it has
this platform, digest, artifactType and annotations. If several are like that,
nothing is done and they are listed. Standard output is the digest of the index.

What the entry names stays in the repository. The tag of the entry gets a
tombstone, so that others who write the index at the same time do not bring it
back; "nbpack build --index" and "nbpack index add" put a new entry in its place.`,
		Example: `  nbpack index remove --platform arm64 registry.example/os:42
  nbpack index remove --platform amd64 --annotation disktype=qcow2 oci:./layout:42
  nbpack index remove --digest "$DIGEST" registry.example/os:42`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Platform, err = parseEntryPlatform(platform); err != nil {
				return err
			}
			if o.Annotations, err = pairs("annotation", annotations); err != nil {
				return err
			}
			if want != "" {
				if o.Digest, err = spec.ParseDigest(want); err != nil {
					return cli.Usage("--digest: %q is not a digest", want)
				}
			}
			if cmd.Flag("artifact-type").Changed {
				o.ArtifactType = &artifactType
			}
			o.Options = f.options(env)
			return f.withIndex(cmd.Context(), env, args[0], func(_ *transport.Client, repo *transport.Repository, ref transport.Reference) error {
				r, err := index.Remove(cmd.Context(), repo, ref.Tag, o)
				if err != nil {
					return err
				}
				return f.report(env, ref, r)
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&platform, "platform", "", "`OS[(OS.VERSION)]/ARCH[/VARIANT]` of the entry")
	cli.Platforms(cmd)
	fs.StringVar(&want, "digest", "", "`DIGEST` of the manifest that the entry names")
	fs.StringVar(&artifactType, "artifact-type", "", "artifactType `TYPE` of the entry; if empty, it has none")
	fs.StringArrayVar(&annotations, "annotation", nil, "`KEY=VALUE`: annotation of the entry; with an empty value, it has none of this KEY (may be repeated)")
	f.bindWrite(cmd)
	return cmd
}
