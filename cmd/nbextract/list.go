package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

func listCommand(env *cli.Env) *cobra.Command {
	var (
		registry  cli.RegistryFlags
		platforms []string
		tags      bool
		brief     bool
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "list [flags] REPOSITORY|IMAGE",
		Short: "List the tags of a repository, or what an image holds",
		Long: `List shows the boot trees of an image: their platform, their form, the files
of each with their sizes. What else an index holds (containers, disks, single
files) is listed with what it is. Where the reference names no tag, list shows
the tags of the repository, and which of them belong to an index.

The files of an artifact stand in its manifest, those of an image mostly in tables
of its layers, which are short; other layers it reads, and proves them as pull
does. With --brief it does neither.`,
		Example: `  nbextract list registry.example/netboot
  nbextract list registry.example/netboot:fedora-42 --platform aarch64
  nbextract list oci:release:debian-12 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := transport.ParseReference(args[0])
			if err != nil {
				return cli.Usage("%w", err)
			}
			client, err := newClient(env, &registry, "")
			if err != nil {
				return err
			}
			defer client.Close()
			var list *extract.Listing
			if tags || namesRepository(args[0], ref) {
				list, err = extract.ListTags(cmd.Context(), client, ref, !brief)
			} else {
				list, err = extract.ListImage(cmd.Context(), client, ref, platforms, !brief)
			}
			env.StopProgress()
			if err != nil {
				return err
			}
			if asJSON {
				return env.JSON(list)
			}
			return printListing(env.Stdout, list)
		},
	}
	jsonFlag(cmd, &asJSON)
	registry.Bind(cmd.Flags())
	cmd.Flags().StringSliceVar(&platforms, "platform", nil, "`PLATFORM`[,PLATFORM...] to show, and nothing else (default: all there is)")
	cli.Platforms(cmd)
	cmd.Flags().BoolVar(&tags, "tags", false, "list tags even where the reference names an image")
	cmd.Flags().BoolVar(&brief, "brief", false, "read no layers and list no files: platforms, digests and sizes only; of a repository its tags only")
	return cmd
}

// namesRepository says whether a registry reference stops at its repository:
// the parser has filled in the usual tag by then.
func namesRepository(arg string, ref transport.Reference) bool {
	last := arg[strings.LastIndexByte(arg, '/')+1:]
	return ref.Transport == transport.Docker && !strings.ContainsAny(last, ":@")
}

func printListing(w io.Writer, list *extract.Listing) error {
	for _, tag := range list.Tags {
		line := label(tag)
		if index, ok := list.Children[tag]; ok {
			line += "  in the index " + label(index)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	for _, image := range list.Images {
		if err := printImage(w, &image); err != nil {
			return err
		}
	}
	for _, o := range list.Others {
		if _, err := fmt.Fprintf(w, "%s %s %d bytes, not a boot tree: %s\n", label(o.Platform), o.Digest, o.Size, o.What); err != nil {
			return err
		}
	}
	return nil
}

func printImage(w io.Writer, image *extract.PlatformImage) error {
	if _, err := fmt.Fprintf(w, "%s %s %d bytes, %s\n", label(image.Platform), image.Digest, image.Size, image.Form); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, f := range image.Files {
		switch {
		case f.Target != "":
			fmt.Fprintf(table, "\tlink\t  %s -> %s\n", label(f.Path), label(f.Target))
		case f.Size < 0:
			fmt.Fprintf(table, "\t?\t  %s\n", label(f.Path))
		default:
			fmt.Fprintf(table, "\t%d\t  %s\n", f.Size, label(f.Path))
		}
	}
	return table.Flush()
}
