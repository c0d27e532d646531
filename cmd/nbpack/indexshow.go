package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
	"github.com/nbpack/nbpack/spec"
)

func indexShowCommand(env *cli.Env) *cobra.Command {
	var f indexFlags
	cmd := &cobra.Command{
		Use:   "show [flags] INDEX",
		Short: "List the entries of an index",
		Long: `Print the entries of an index in their order, one line each:

  PLATFORM     with its os.version in brackets, as in linux(fedora-42)/amd64
  KIND         container, netboot (image), netboot-artifact, file (an artifact of
               one), artifact, index; "missing" where the repository lacks it
  DISKTYPE     the annotation that says its use
  SIZE         bytes of config and layers together
  DIGEST       of its manifest
  TAG          by which it belongs to the index, if it has one
  ANNOTATIONS  the others of the entry

"nbpack lint INDEX" checks the entries, "nbpack inspect" shows what one of them
holds.`,
		Example: `  nbpack index show registry.example/os:42
  nbpack index show --json oci:./layout:42`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withIndex(cmd.Context(), env, args[0], func(_ *transport.Client, repo *transport.Repository, ref transport.Reference) error {
				o := f.options(env)
				o.Log = env.Debug
				l, err := index.Show(cmd.Context(), repo, ref.Tag, o)
				if err != nil {
					return err
				}
				env.StopProgress()
				if f.json {
					return env.JSON(struct {
						Reference string `json:"reference"`
						*index.Listing
					}{ref.String(), l})
				}
				_, err = fmt.Fprint(env.Stdout, entryTable(l.Entries))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
	f.registry.Bind(cmd.Flags())
	return cmd
}

// entryTable shows the entries of an index to people.
func entryTable(entries []index.Entry) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) {
		for i, c := range cells {
			if c = cli.OneLine(c); c == "" {
				c = "-"
			}
			cells[i] = c
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("PLATFORM", "KIND", "DISKTYPE", "SIZE", "DIGEST", "TAG", "ANNOTATIONS")
	for _, e := range entries {
		size := ""
		if e.ContentSize >= 0 {
			size = strconv.FormatInt(e.ContentSize, 10)
		}
		row(e.Platform, string(e.Kind), e.DiskType, size, e.Digest.String(), e.Tag, otherAnnotations(e.Annotations))
	}
	_ = w.Flush() // to memory
	return out.String()
}

// otherAnnotations leaves out what a column of its own says.
func otherAnnotations(all map[string]string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if k != spec.AnnotationDiskType && k != spec.LabelVersion {
			words = append(words, fmt.Sprintf("%s=%q", k, all[k]))
		}
	}
	return strings.Join(words, " ")
}
