package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
)

func indexAddCommand(env *cli.Env) *cobra.Command {
	var f indexFlags
	var o index.AddOptions
	var platform, artifactType string
	var annotations []string
	cmd := &cobra.Command{
		Use:   "add [flags] INDEX SOURCE...",
		Short: "Copy images or artifacts and put them into an index",
		Long: `Copy each SOURCE, raw, into the repository of INDEX and put an entry for it into
the index, in the place of the one of the same identity if there is one. An index
that does not exist is made. Standard output is the digest of the index.

A SOURCE is an image or artifact of any kind:
  docker://HOST/REPOSITORY[:TAG]   in a registry; "docker://" may be left out
  oci:DIR[:TAG]                    in an OCI layout
  oci-archive:FILE[:TAG]           in an OCI layout in a tar file
  dir:DIR                          in a directory of plain files
  containers-storage:NAME[:TAG]    in the storage of podman
Of a SOURCE that is an index itself, --platform picks one entry and --all takes
every one. Bytes and digests stay as they are; nothing is rebuilt or compressed.

The platform of the entry is what the index says that the source is in, else
--platform, else what the config of the source says. Content without any, as
artifacts are, needs --platform.

The entry says its use by the annotation disktype: netboot for boot sets, container
for images that runtimes start, what the content itself says for files (kernel,
qcow2 and so on), else "artifact". Ironic takes entries with a disktype of qcow2 or raw
for disks and skips those with others; so give disks of other tools
--annotation disktype=qcow2. An empty value leaves an annotation out.

The content also gets a tag, INDEX-ARCH[VARIANT][-DISKTYPE], by which concurrent
writers of the index know that it belongs there. A container is put before what
runtimes cannot start, other content behind the containers of its platform.

A tag that holds a single image is refused, unless --wrap makes it an index with
that image as its first entry.`,
		Example: `  # a container beside the netboot images of the same release
  nbpack index add registry.example/os:42 oci-archive:container.tar

  # all platforms of another registry's image
  nbpack index add --all registry.example/os:42 registry.example/base:42

  # a disk of another tool, for Ironic
  nbpack index add --platform amd64 --annotation disktype=qcow2 \
      registry.example/os:42 registry.example/disks:noble

  # in an index of Garden Linux, whose entries are told apart by cname: the same
  # entry as its own tools would write
  nbpack index add --platform 'gardenlinux(1592.1)/amd64' --identity cname \
      --annotation cname=kvm --annotation disktype= --artifact-type= \
      registry.example/gardenlinux:1592.1 oci:out:kvm`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if o.Platform, err = parseEntryPlatform(platform); err != nil {
				return err
			}
			if o.Annotations, err = pairs("annotation", annotations); err != nil {
				return err
			}
			if o.All && platform != "" {
				return cli.Usage("--all and --platform exclude each other")
			}
			if cmd.Flag("artifact-type").Changed {
				o.ArtifactType = &artifactType
			}
			wrap := o.Wrap
			o.Options = f.options(env)
			o.Wrap = wrap
			return f.withIndex(cmd.Context(), env, args[0], func(client *transport.Client, repo *transport.Repository, ref transport.Reference) error {
				sources, done, err := openSources(cmd.Context(), client, args[1:])
				defer done()
				if err != nil {
					return err
				}
				r, err := index.AddSources(cmd.Context(), repo, ref.Tag, sources, o)
				if err != nil {
					return err
				}
				return f.report(env, ref, r)
			})
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&platform, "platform", "", "`OS[(OS.VERSION)]/ARCH[/VARIANT]`: the entry of a source that is an index, else the platform of the entry")
	cli.Platforms(cmd)
	fs.BoolVar(&o.All, "all", false, "take every entry of a source that is an index")
	fs.StringArrayVar(&annotations, "annotation", nil, "`KEY=VALUE`: annotate the entry; an empty value leaves KEY out (may be repeated)")
	fs.StringVar(&artifactType, "artifact-type", "", "`TYPE`: artifactType of the entry, instead of that of the content; empty for none")
	fs.StringArrayVar(&o.Identity, "identity", nil, "`KEY` of an annotation that tells entries of a platform apart, instead of disktype (may be repeated)")
	fs.BoolVar(&o.Wrap, "wrap", false, "if the tag holds a single image, make it an index with that image as its first entry")
	f.bindWrite(cmd)
	return cmd
}

// openSources opens what is to be added; done closes it.
func openSources(ctx context.Context, client *transport.Client, list []string) (sources []index.Source, done func(), err error) {
	done = func() {
		for _, s := range sources {
			_ = s.Close() // only read from
		}
	}
	for _, name := range list {
		ref, err := transport.ParseReference(name)
		if err != nil {
			return sources, done, err
		}
		src, err := client.Source(ctx, ref)
		if err != nil {
			return sources, done, err
		}
		sources = append(sources, index.Source{Name: ref.String(), Source: src})
	}
	return sources, done, nil
}
