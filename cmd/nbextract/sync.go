package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

func syncCommand(env *cli.Env) *cobra.Command {
	var (
		o        catalogrun.Options
		registry cli.RegistryFlags
		mirrors  failoverFlags
		file     string
		signed   trustFlags
		metrics  string
		maxAge   catalog.Duration
		check    bool
		itemize  bool
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "sync [-c FILE]",
		Short: "Bring all boot trees of a catalogue up to date",
		Long: `Sync brings every boot tree that a catalogue names up to date, from cron or a
timer. A reference that did not move costs one request. What fails does not stop
the others: its trees stay as they are, a warning says why and since when, and
the run ends with exit code 1, or with the code that all failures have in common
(3 content refused, 4 not found).

The catalogue is a YAML file; see docs/catalog.md:

  destination: /var/lib/tftpboot
  platforms: [linux/amd64, linux/arm64]
  images:
    - ref: registry.example/netboot:fedora-42
    - repository: registry.example/netboot
      tags: ["debian-1?"]

All references are resolved, their paths compared and the space on the disk is
checked before the first tree changes. Trees that left the catalogue stay, unless
it says "prune: true" or --prune is given: then they go after a grace time, and
not if too many left at once.

It prints a line for each tree that changed, and with --quiet nothing if none
did.`,
		Example: `  # from cron
  nbextract sync --quiet
  # what would happen
  nbextract sync -c catalog.yaml --dry-run
  # is the file right?
  nbextract sync -c catalog.yaml --check`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.MaxAge = time.Duration(maxAge)
			o.MakeHooks = func(h *catalog.Hooks) (extract.Hooks, error) { return catalogHooks(env, h), nil }
			if err := mirrors.check(cmd); err != nil {
				return err
			}
			c, entries, err := catalog.Read(file)
			if err == nil {
				o.Trust, err = signed.parse(cmd, nil)
			}
			if err == nil {
				err = catalogrun.Check(entries, o)
			}
			if err == nil {
				_, err = catalogrun.Menus(c)
			}
			if err != nil {
				return err
			}
			if check {
				return nil
			}
			pool := newClientPool(env, &registry, &mirrors, c, entries)
			defer pool.close()
			o.Client, o.MirrorHealth = pool.get, pool.health
			o.Log, o.Warn, o.Progress = env.Info, env.Warn, env.Progress()
			report, err := catalogrun.Run(cmd.Context(), c, entries, o)
			env.StopProgress()
			writeMetrics(env, cmp.Or(metrics, c.MetricsFile), report, entries)
			if asJSON {
				return errors.Join(err, env.JSON(report))
			}
			return errors.Join(err, printSync(env.Stdout, report, env.Quiet(), itemize || o.DryRun))
		},
	}
	jsonFlag(cmd, &asJSON)
	registry.Bind(cmd.Flags())
	mirrors.bind(cmd)
	signed.bind(cmd)
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", catalog.DefaultFile, "catalogue `FILE`")
	f.BoolVar(&check, "check", false, "read the catalogue, say what is wrong with it, and do nothing")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be done and change nothing")
	f.BoolVar(&o.Prune, "prune", false, "remove trees that left the catalogue, after its grace time")
	f.BoolVar(&o.Force, "force", false, "with --prune, also where more left at once than the catalogue allows")
	f.BoolVar(&o.Wait, "wait", false, "wait for another run to end (default: exit code 75)")
	f.BoolVar(&o.Checksum, "checksum", false, "judge the files in place by content, not by size and times")
	f.BoolVarP(&itemize, "itemize-changes", "i", false, "print a line for each change")
	f.BoolVar(&o.AllowDowngrade, "allow-downgrade", false, "accept images older than the installed ones")
	f.BoolVar(&o.AllowGap, "allow-gap", false, "accept a moment without a live path where the filesystem knows no other way")
	f.TextVar(&maxAge, "max-age", catalog.Duration(0), "warn, once a day, of references that have named the same image for longer than this `TIME`, such as 60d (default: as the catalogue says)")
	f.StringVar(&metrics, "metrics-file", "", "write figures to `FILE` for Prometheus' textfile collector (default: as the catalogue says)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

// clientPool has a client for each answer to --tls-verify, since that is a
// property of a client.
type clientPool struct {
	env     *cli.Env
	flags   *cli.RegistryFlags
	mirrors failoverFlags
	cat     *catalog.Catalog
	dirs    []string           // boot directories of the entries
	health  *blobmirror.Health // of all clients

	mu      sync.Mutex
	clients map[string]*transport.Client
}

// newClientPool makes a pool for a catalogue, which knows mirrors, too. What the
// flags say of these counts more.
func newClientPool(env *cli.Env, flags *cli.RegistryFlags, mirrors *failoverFlags, c *catalog.Catalog, entries []catalog.Entry) *clientPool {
	p := &clientPool{env: env, flags: flags, mirrors: *mirrors, cat: c, dirs: catalog.Destinations(entries)}
	if !p.mirrors.ordered && c.MirrorOrder != "" {
		p.mirrors.order = c.MirrorOrder
	}
	p.mirrors.urlHosts = append(slices.Clone(c.URLHosts), p.mirrors.urlHosts...)
	p.health = extract.MirrorHealth(p.dirs...)
	return p
}

func (p *clientPool) get(tlsVerify *bool) (*transport.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	flags := *p.flags
	if tlsVerify != nil {
		flags.TLSVerify = tlsVerify // the catalogue knows its registries
	}
	key := ""
	if flags.TLSVerify != nil {
		key = fmt.Sprint(*flags.TLSVerify)
	}
	if c := p.clients[key]; c != nil {
		return c, nil
	}
	o := clientOptions(p.env, &flags, p.dirs...)
	o.Mirrors = p.cat.Mirrors
	p.mirrors.apply(&o, p.health)
	c, err := transport.NewClient(o)
	if err != nil {
		return nil, err
	}
	if p.clients == nil {
		p.clients = map[string]*transport.Client{}
	}
	p.clients[key] = c
	return c, nil
}

func (p *clientPool) close() {
	for _, c := range p.clients {
		c.Close()
	}
}

// printSync prints a line for each tree that changed or left, and unless nobody
// wants to hear it one about all.
func printSync(w io.Writer, r *catalogrun.Report, quiet, itemize bool) error {
	for _, t := range r.Trees {
		if !t.Changed {
			continue
		}
		if itemize && t.Itemized != nil {
			if err := t.Itemized.Itemize(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s %s %s\n", syncPath(r, t.Destination, t.Path), t.Digest, verdict(t.TreeReport)); err != nil {
			return err
		}
	}
	for _, l := range r.Left {
		if err := printLeft(w, r, l, quiet); err != nil {
			return err
		}
	}
	if quiet {
		return nil
	}
	_, err := fmt.Fprintf(w, "%d trees changed, %d unchanged, %d references skipped, %d failures\n",
		r.Changed, r.Unchanged, len(r.Skipped), len(r.Failures))
	return err
}

func printLeft(w io.Writer, r *catalogrun.Report, l catalogrun.LeftTree, quiet bool) (err error) {
	path := syncPath(r, l.Destination, l.Path)
	switch {
	case l.Removed && r.DryRun:
		_, err = fmt.Fprintf(w, "%s would be removed: %s left the catalogue\n", path, label(l.Reference))
	case l.Removed:
		_, err = fmt.Fprintf(w, "%s removed: %s left the catalogue\n", path, label(l.Reference))
	case !quiet:
		_, err = fmt.Fprintf(w, "%s left the catalogue: %s\n", path, cli.OneLine(l.Reason))
	}
	return err
}

// syncPath names the boot directory as well where there are several.
func syncPath(r *catalogrun.Report, dir, path string) string {
	for _, t := range r.Trees {
		if t.Destination != dir {
			return dir + "/" + path
		}
	}
	return path
}
