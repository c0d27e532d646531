// Command bench measures nbpack and nbextract beside other tools, against a real
// registry: time, processor, memory, requests and bytes. "make bench" runs it on
// versions of a boot tree, which testdata/chunks/series.sh makes, and writes the
// tables of docs/performance.md.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
)

func main() { cli.Main(cli.App{Name: "bench", Root: root}) }

// options are what the user of bench decides.
type options struct {
	series    string   // directory of series.sh
	versions  []string // of the boot tree, in order
	image     string   // file of a version that is to be its install.img
	bin       string   // directory of nbpack and nbextract
	work      string   // for trees that are laid out, and the registry
	out       string   // Markdown file whose tables are written anew
	rounds    int
	largeMiB  int64
	scenarios []string
	without   []string // peers
}

func root(env *cli.Env) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure nbpack and nbextract beside other tools",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return measureAll(cmd.Context(), env, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.series, "series", "", "`DIR` of testdata/chunks/series.sh")
	f.StringSliceVar(&o.versions, "versions", []string{"6.1.0-54", "6.1.0-55", "6.1.0-56"}, "`VERSIONS` of the tree, three of them")
	f.StringVar(&o.image, "image", "install-zstd.img", "`NAME` of the image that is install.img of the tree")
	f.StringVar(&o.bin, "bin", "bin", "`DIR` of nbpack and nbextract")
	f.StringVar(&o.work, "work", os.TempDir(), "`DIR` for what is written meanwhile")
	f.StringVar(&o.out, "out", "", "Markdown `FILE` whose tables are written anew (default: print them)")
	f.IntVar(&o.rounds, "rounds", 3, "`N` rounds, of which the medians are shown")
	f.Int64Var(&o.largeMiB, "large", 8192, "`MIB` of the file of the scenario large")
	f.StringSliceVar(&o.scenarios, "scenarios", []string{"pack", "pull", "small", "large"}, "`NAMES` of what to measure")
	f.StringArrayVar(&o.without, "without", nil, "`NAME` of a tool to leave out, as the tables call it (may be repeated)")
	cmd.AddCommand(floorPullCommand(), floorAgainCommand(), floorPackCommand(), orasPullCommand())
	return cmd
}

// scenarios measure, and give a table.
var scenarios = map[string]func(*stand, context.Context) (string, error){
	"pack": (*stand).pack, "pull": (*stand).pull, "small": (*stand).small, "large": (*stand).large,
}

// check refuses at once what would end a bench only after many minutes, or have it
// measure something else than what was meant.
func (o options) check() error {
	if len(o.versions) != 3 || o.rounds < 1 {
		return fmt.Errorf("three versions and a round are needed, these are %d and %d", len(o.versions), o.rounds)
	}
	for _, name := range o.without {
		if repo(name) == "" {
			return fmt.Errorf("no tool is called %q", name)
		}
	}
	for _, name := range o.scenarios {
		if scenarios[name] == nil {
			return fmt.Errorf("no scenario is called %q", name)
		}
		if o.out == "" {
			continue
		}
		if _, _, err := aroundTable(o.out, name); err != nil {
			return err
		}
	}
	return nil
}

// measureAll runs the scenarios and writes their tables.
func measureAll(ctx context.Context, env *cli.Env, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	for _, name := range o.scenarios {
		env.Info("%s", name)
		table, err := measure(ctx, env, o, scenarios[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if o.out == "" {
			fmt.Fprintln(env.Stdout, table)
		} else if err := replaceTable(o.out, name, table); err != nil {
			return err
		}
	}
	return nil
}

// measure runs one scenario on a stand of its own: registries keep what is no longer
// needed, and the next scenario wants the disk.
func measure(ctx context.Context, env *cli.Env, o options, scenario func(*stand, context.Context) (string, error)) (string, error) {
	dir, err := os.MkdirTemp(o.work, "nbpack-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	s, err := newStand(ctx, env, o, dir)
	if err != nil {
		return "", err
	}
	defer s.close()
	return scenario(s, ctx)
}

// absolute makes a path usable from everywhere.
func absolute(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", fmt.Errorf("find %q: %w", p, err)
	}
	return abs, nil
}
