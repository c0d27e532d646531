package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/drain"
	"github.com/nbpack/nbpack/internal/serve"
)

// serveFlags are what serve is asked for on the command line.
type serveFlags struct {
	o         serve.Options
	registry  cli.RegistryFlags
	catalog   string
	dhcp      string
	advertise string
	tree      string
	platforms []string
	layouts   []string
	fixed     func(flag string) bool // the user gave this one
}

func serveCommand(env *cli.Env) *cobra.Command {
	var s serveFlags
	cmd := &cobra.Command{
		Use:   "serve {-d DIR | --sync FILE | IMAGE...}",
		Short: "Serve boot trees by TFTP and HTTP",
		Long: `Serve gives the files below DIR to machines that boot, by TFTP and HTTP, read-only.

A machine that began with one generation of a tree gets all its files from that
generation, whatever is pulled meanwhile, until it has asked for nothing for the
time of --pin. So an update in the middle of a boot cannot mix a kernel with the
initrd of another. Files of the site, such as grub.cfg, are served as they are now.

With --sync, serve also keeps the trees of a catalogue fresh. With IMAGE instead of
DIR it lays the images out in a private directory, which goes when it ends: a first
try needs nothing else.

Machines find their boot file by DHCP, from another server. --print-dhcp prints what
to tell that one, and ends.

SIGTERM ends it: nothing new is begun, and what is being sent may go on for
--drain.`,
		Example: `  # as root, or with the capability to use ports below 1024
  nbextract serve -d /var/lib/tftpboot
  # what to tell the DHCP server
  nbextract serve -d /var/lib/tftpboot --print-dhcp dnsmasq --advertise 192.0.2.1
  # a boot server by itself
  nbextract serve --sync catalog.yaml --every 1h --metrics 127.0.0.1:9469
  # a first try
  nbextract serve oci:release:debian-12`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.fixed = cmd.Flags().Changed
			if err := checkAddresses(cmd, "tftp", "http", "metrics"); err != nil {
				return err
			}
			if err := s.check(args); err != nil {
				return err
			}
			if len(args) == 0 {
				return s.run(cmd.Context(), env)
			}
			return s.runImages(cmd.Context(), env, args)
		},
	}
	s.registry.Bind(cmd.Flags())
	f := cmd.Flags()
	f.StringVarP(&s.o.Dir, "dir", "d", "", "boot `DIR` to serve")
	f.StringVar(&s.o.TFTP, "tftp", ":69", "`ADDRESS:PORT` for TFTP, or empty for none (without the right to use port 69: 6969)")
	f.StringVar(&s.o.HTTP, "http", ":80", "`ADDRESS:PORT` for HTTP, or empty for none (without the right to use port 80: 8080)")
	f.StringVar(&s.o.Metrics, "metrics", "", "`ADDRESS:PORT` for /metrics and /healthz (default: none)")
	f.DurationVar(&s.o.Hold, "pin", serve.DefaultHold, "`TIME` after its last request that a machine keeps its generation; 0: not at all")
	f.DurationVar(&s.o.Drain, "drain", drain.Default, "`TIME` that transfers may go on when the server is to end")
	f.IntVar(&s.o.MostPerClient, "max-per-client", serve.DefaultMostPerClient, "`N` transfers by TFTP, and connections by HTTP, of one address")
	f.IntVar(&s.o.Most, "max", serve.DefaultMost, "`N` transfers by TFTP, and connections by HTTP, of all addresses")
	f.StringVar(&s.catalog, "sync", "", "keep the trees of the catalogue `FILE` fresh")
	f.DurationVar(&s.o.Every, "every", time.Hour, "`TIME` between two runs of --sync")
	f.StringVar(&s.dhcp, "print-dhcp", "", "print the configuration for a DHCP server, `dnsmasq|isc|kea`, and end")
	cli.Values(cmd, "print-dhcp", serve.DHCPDialects()...)
	f.StringVar(&s.advertise, "advertise", "", "with --print-dhcp, the `ADDRESS` at which machines find this server (default: the first of this host)")
	f.StringVar(&s.tree, "tree", "", "with --print-dhcp, the `PATH` of the tree to boot, or its beginning (default: the one installed last)")
	f.StringSliceVar(&s.platforms, "platform", []string{"all"}, "with IMAGE, `PLATFORM`[,PLATFORM...] to lay out")
	cli.Platforms(cmd, "all")
	layoutFlag(cmd, &s.layouts, "with IMAGE, ")
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.RegisterFlagCompletionFunc("tree", completeTree)
	_ = cmd.MarkFlagFilename("sync", "yaml", "yml")
	return cmd
}

// check refuses what does not go together, and completes what can be known.
func (s *serveFlags) check(args []string) error {
	switch {
	case len(args) > 0 && (s.o.Dir != "" || s.catalog != ""):
		return cli.Usage("IMAGE is served from a directory of its own, without --dir and --sync")
	case len(args) == 0 && (s.fixed("platform") || s.fixed("layout")):
		return cli.Usage("--platform and --layout go with IMAGE; the trees in DIR are laid out already")
	case s.dhcp != "" && !slices.Contains(serve.DHCPDialects(), s.dhcp):
		return cli.Usage("--print-dhcp is one of %q, not %q", serve.DHCPDialects(), s.dhcp)
	case s.o.TFTP == "" && s.o.HTTP == "":
		return cli.Usage("without --tftp and --http there is nothing to serve")
	case s.o.Every < time.Second:
		return cli.Usage("--every is at least a second, not %s", s.o.Every)
	case s.o.Hold < 0 || s.o.Drain < 0:
		return cli.Usage("--pin and --drain are not negative")
	case s.o.MostPerClient < 1 || s.o.Most < 1:
		return cli.Usage("--max-per-client and --max are at least 1")
	}
	if s.catalog != "" {
		if err := s.destination(); err != nil {
			return err
		}
	}
	if s.o.Dir == "" && len(args) == 0 {
		return cli.WithHint(cli.Usage("nothing to serve"), "name a boot directory with -d, a catalogue with --sync, or an image")
	}
	return nil
}

// destination takes the boot directory from the catalogue, or checks that it is one
// of it: to keep one directory fresh and serve another is a mistake.
func (s *serveFlags) destination() error {
	_, entries, err := catalog.Read(s.catalog)
	if err == nil {
		err = catalogrun.Check(entries, syncOptions(nil))
	}
	if err != nil {
		return err
	}
	var dirs []string
	for _, e := range entries {
		if dir := filepath.Clean(e.Destination); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	switch {
	case s.o.Dir == "" && len(dirs) == 1:
		s.o.Dir = dirs[0]
	case s.o.Dir == "":
		return cli.Usage("the catalogue %q has the destinations %q: say with -d which one to serve", s.catalog, dirs)
	case !slices.Contains(dirs, filepath.Clean(s.o.Dir)):
		return cli.Usage("the catalogue %q has the destinations %q, and not %q", s.catalog, dirs, s.o.Dir)
	}
	if s.dhcp != "" {
		return nil
	}
	return os.MkdirAll(s.o.Dir, 0o755)
}

// run serves, or prints for a DHCP server.
func (s *serveFlags) run(ctx context.Context, env *cli.Env) error {
	if s.dhcp != "" {
		return s.printDHCP(env)
	}
	o := s.o
	o.Log, o.Warn = env.Info, env.Warn
	if s.catalog != "" {
		o.Refresh = s.refresh(env)
	}
	server, err := s.listen(o, env)
	if err != nil {
		return err
	}
	for _, at := range []struct {
		what string
		addr net.Addr
	}{{"TFTP", server.TFTPAddr()}, {"HTTP", server.HTTPAddr()}, {"metrics", server.MetricsAddr()}} {
		if at.addr != nil {
			env.Info("serving %q by %s at %s", s.o.Dir, at.what, at.addr)
		}
	}
	err = server.Run(ctx)
	if err == nil {
		env.Info("stopped")
	}
	return err
}

// listen opens the sockets; who may not use the usual ports gets others, unless they
// were asked for.
func (s *serveFlags) listen(o serve.Options, env *cli.Env) (*serve.Server, error) {
	server, err := serve.New(o)
	if errors.Is(err, syscall.EACCES) && !errors.As(err, new(*fs.PathError)) {
		if !s.fixed("tftp") {
			o.TFTP = ":6969"
		}
		if !s.fixed("http") {
			o.HTTP = ":8080"
		}
		again, err2 := serve.New(o)
		if err2 == nil {
			env.Warn("no right to use ports below 1024; firmware asks for TFTP at port 69 only")
			return again, nil
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = cli.WithHint(err, "another server has the port; choose one with --tftp and --http, or leave one out with --tftp= or --http=")
	case errors.Is(err, syscall.EACCES):
		err = cli.WithHint(err, "serve needs the capability CAP_NET_BIND_SERVICE for its ports, and must be the user who runs nbextract pull")
	}
	return server, err
}

// refresh runs sync over the catalogue as it is at that time.
func (s *serveFlags) refresh(env *cli.Env) func(context.Context) error {
	return func(ctx context.Context) error {
		o := syncOptions(env)
		c, entries, err := catalog.Read(s.catalog)
		if err == nil {
			err = catalogrun.Check(entries, o)
		}
		if err != nil {
			return err
		}
		pool := newClientPool(env, &s.registry, &failoverFlags{}, c, entries)
		defer pool.close()
		o.MirrorHealth = pool.health
		o.Client, o.Log, o.Warn, o.Wait = pool.get, env.Info, env.Warn, true
		report, err := catalogrun.Run(ctx, c, entries, o)
		writeMetrics(env, c.MetricsFile, report, entries)
		for _, t := range report.Trees {
			if t.Changed {
				env.Info("sync: %s %s %s", syncPath(report, t.Destination, t.Path), t.Digest, verdict(t.TreeReport))
			}
		}
		return err
	}
}

// syncOptions are those that do not depend on a run. Without env nothing can be run
// with them.
func syncOptions(env *cli.Env) catalogrun.Options {
	return catalogrun.Options{MakeHooks: func(h *catalog.Hooks) (extract.Hooks, error) { return catalogHooks(env, h), nil }}
}

// runImages lays images out where nobody else sees them, and serves that.
func (s *serveFlags) runImages(ctx context.Context, env *cli.Env, args []string) (err error) {
	refs, err := parseReferences(args)
	if err != nil {
		return err
	}
	if s.o.Dir, err = os.MkdirTemp("", "nbextract-serve-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.o.Dir)) }()
	client, err := newClient(env, &s.registry, "")
	if err != nil {
		return err
	}
	defer client.Close()
	report, err := extract.Pull(ctx, client, refs, extract.Options{
		Dir: s.o.Dir, Platforms: s.platforms, Layouts: s.layouts, Log: env.Info, Warn: env.Warn, Progress: env.Progress(),
	})
	env.StopProgress()
	if err != nil {
		return err
	}
	for _, t := range report.Trees {
		env.Info("%s %s", t.Path, t.Digest)
	}
	return s.run(ctx, env)
}
