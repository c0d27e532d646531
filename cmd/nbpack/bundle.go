package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/bundle"
	"github.com/nbpack/nbpack/spec"
)

const bundleLong = `A bundle carries images of many repositories to where there is no network: one OCI
layout, or one tar file of it, in which each image has its full reference as its
name, so that the other side asks for it by the name that it has everywhere.
"nbextract pull --from" lays out boot trees from it, "nbpack relocate --from" puts
the images into another registry, and other tools read it as the OCI layout that it
is: skopeo copy oci:DIR:registry.example/netboot:debian-12 …

Images and artifacts of any kind are carried, byte for byte; indexes with all that
they name; and with each image what is attached to it: signatures and whatever else
refers to it, and the tags that cosign puts beside it.

A BUNDLE is
  oci:DIR             an OCI layout
  oci-archive:FILE    the same as one tar file

The same images give the same bytes, whatever the order and however many runs it
took. docs/bundles.md has the format, and how bundles and deltas are used.`

func bundleCommand(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Carry images of many repositories as one layout or file",
		Long:  bundleLong,
		Example: `  nbpack bundle create oci:bundle registry.example/netboot:debian-12 registry.example/netboot:debian-13
  nbpack bundle add oci:bundle registry.example/netboot:fedora-42
  nbpack bundle verify oci:bundle`,
	}
	cmd.AddCommand(bundleCreateCommand(env), bundleAddCommand(env), bundleVerifyCommand(env), bundleListCommand(env))
	return cmd
}

// bundleFlags are those of the commands that write bundles.
type bundleFlags struct {
	registry  cli.RegistryFlags
	file      string
	platforms []string
	since     string
	asJSON    bool
	options   bundle.Options
}

func (f *bundleFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.file, "file", "f", "", "read more references from `FILE`, one on a line; # begins a comment, - is standard input")
	fs.StringSliceVar(&f.platforms, "platform", nil, "`PLATFORM`[,PLATFORM...] to take of indexes, such as linux/amd64 or aarch64 (default: all)")
	cli.Platforms(cmd)
	fs.BoolVar(&f.asJSON, "json", false, "print the result as one JSON object")
	f.registry.Bind(fs)
}

// parse reads the arguments: the bundle, and what goes into it.
func (f *bundleFlags) parse(env *cli.Env, stdin io.Reader, args []string) (dst transport.Reference, refs []transport.Reference, err error) {
	if dst, err = transport.ParseBundle(args[0]); err != nil {
		return dst, nil, err
	}
	add := func(name string) error {
		ref, err := transport.ParseReference(name)
		refs = append(refs, ref)
		return err
	}
	for _, name := range args[1:] {
		if err := add(name); err != nil {
			return dst, nil, err
		}
	}
	if f.file != "" {
		list, err := cli.ReadList(f.file, stdin)
		if err == nil {
			err = list.Each(add)
		}
		if err != nil {
			return dst, nil, err
		}
	}
	if len(refs) == 0 {
		return dst, nil, cli.WithHint(cli.Usage("no image is named"), "name references, or a file of them with -f")
	}
	for _, p := range f.platforms {
		platform, err := spec.ParsePlatform(p)
		if err != nil {
			return dst, nil, cli.Usage("--platform: %w", err)
		}
		f.options.Platforms = append(f.options.Platforms, platform)
	}
	f.options.Log = env.Debug
	return dst, refs, nil
}

// report prints what became of the images.
func (f *bundleFlags) report(env *cli.Env, r *bundle.Result) error {
	env.StopProgress()
	if f.asJSON {
		return env.JSON(r)
	}
	for _, im := range r.Images {
		if _, err := fmt.Fprintln(env.Stdout, cli.OneLine(im.Change+" "+im.Name+" "+im.Digest.String()+platformWords(im.Platforms))); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%d blobs fetched (%d bytes), %d were there", r.Blobs.Fetched, r.Bytes.Fetched, r.Blobs.Kept)
	if r.Delta {
		text += fmt.Sprintf(", %d left out (%d bytes)", r.Blobs.Omitted, r.Bytes.Omitted)
	}
	env.Info("%s", text)
	return nil
}

// platformWords says for which platforms alone an image is there.
func platformWords(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}
