package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/bundle"
)

func bundleVerifyCommand(env *cli.Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [flags] BUNDLE",
		Short: "Read a bundle and say what is wrong with it",
		Long: `Read all of a BUNDLE: each image and all that it names must be there, with the size
and the digest that it was promised with, and nothing else. A delta may lack what it
says that it leaves out. No network is used.

Standard output has a line for each finding:
  missing DIGEST      an image needs it
  damaged DIGEST      it is not what its digest says
  extra FILE          no image needs it
  malformed ENTRY     index.json has an entry that cannot be used

Exit code 3 if there are any. "nbpack bundle add --checksum" with the same images
fetches again what is missing or damaged, and removes what is extra.

This says nothing about who made the images; "nbpack verify" and "nbextract pull
--key" do.`,
		Example: `  nbpack bundle verify oci:bundle
  nbpack bundle verify --json oci-archive:/media/stick/delta.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBundle(args[0], func(ref transport.Reference, b *transport.Bundle) error {
				r, err := bundle.Verify(cmd.Context(), b, ref.String())
				if err != nil {
					return err
				}
				if asJSON {
					err = env.JSON(r)
				} else {
					err = printFindings(env, r)
				}
				if err == nil && len(r.Findings) > 0 {
					err = &findingsError{ref.String(), len(r.Findings)}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// findingsError says that a bundle is not whole.
type findingsError struct {
	bundle string
	n      int
}

func (e *findingsError) Error() string {
	if e.n == 1 {
		return fmt.Sprintf("%q: 1 finding", e.bundle)
	}
	return fmt.Sprintf("%q: %d findings", e.bundle, e.n)
}

// ExitCode is 3: content refused.
func (e *findingsError) ExitCode() int { return 3 }

func printFindings(env *cli.Env, r *bundle.Report) error {
	for _, f := range r.Findings {
		line := f.Kind + " " + f.What
		if f.Why != "" {
			line += ": " + f.Why
		}
		if _, err := fmt.Fprintln(env.Stdout, cli.OneLine(line)); err != nil {
			return err
		}
	}
	kind := "bundle"
	if r.Delta {
		kind = fmt.Sprintf("delta that leaves out %d blobs", r.Omitted)
	}
	env.Info("%s: %d images, %d blobs, %d bytes", kind, r.Images, r.Blobs, r.Bytes)
	return nil
}

func bundleListCommand(env *cli.Env) *cobra.Command {
	var asJSON, blobs bool
	cmd := &cobra.Command{
		Use:   "list [flags] BUNDLE",
		Short: "List the images of a bundle",
		Long: `Print the names and digests of the images in a BUNDLE, and the platforms where not
all are there. Only index.json is read, and nothing is verified.

With --blobs the digests of all that lies in the bundle are printed instead, which is
what "nbpack bundle create --since" takes on the other side.`,
		Example: `  nbpack bundle list oci:bundle
  nbpack bundle list --blobs oci:bundle > there.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withBundle(args[0], func(ref transport.Reference, b *transport.Bundle) error {
				if blobs {
					return printBlobs(env, b)
				}
				l, err := bundle.List(b, ref.String())
				if err != nil {
					return err
				}
				if asJSON {
					return env.JSON(l)
				}
				return printListing(env, l)
			})
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	fs.BoolVar(&blobs, "blobs", false, "print the digests of all blobs")
	cmd.MarkFlagsMutuallyExclusive("json", "blobs")
	return cmd
}

func printListing(env *cli.Env, l *bundle.Listing) error {
	for _, im := range l.Images {
		if _, err := fmt.Fprintln(env.Stdout, cli.OneLine(im.Name+" "+im.Digest.String()+platformWords(im.Platforms))); err != nil {
			return err
		}
	}
	if l.Delta {
		env.Info("this is a delta")
	}
	return nil
}

func printBlobs(env *cli.Env, b *transport.Bundle) error {
	list, err := bundle.Blobs(b)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, d := range list {
		fmt.Fprintln(&lines, d)
	}
	_, err = fmt.Fprint(env.Stdout, lines.String())
	return err
}

// withBundle opens a bundle for reading and calls f with it.
func withBundle(name string, f func(transport.Reference, *transport.Bundle) error) error {
	ref, err := transport.ParseBundle(name)
	if err != nil {
		return err
	}
	b, err := transport.OpenBundle(ref)
	if err != nil {
		return err
	}
	defer b.Close()
	return f(ref, b)
}
