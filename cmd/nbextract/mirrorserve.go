package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract/mirror"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/drain"
	"github.com/nbpack/nbpack/internal/front"
)

// mirrorServeFlags are what the front of a mirror is asked for.
type mirrorServeFlags struct {
	file, listen, metrics string
	drain                 time.Duration
	check, crawl, asJSON  bool
	kind                  string
}

func newMirrorServeCommand(env *cli.Env) *cobra.Command {
	var s mirrorServeFlags
	cmd := &cobra.Command{
		Use:   "serve -c FILE DIR",
		Short: "Serve a mirror as a registry that sends clients to mirrors near them",
		Long: `Serve gives out DIR, which nbextract mirror has filled, as a read-only registry. Tags,
manifests and lists come from DIR. A request for a blob is answered with a redirect
to one of the mirrors in FILE: one that has the blob and is well, near the client,
by weight. podman, skopeo, crane, docker and nbextract follow it and prove what they get
by its digest, so a mirror is trusted with nothing. Where none will do, and when a client
comes back for the same blob at once, it is given from DIR, or by the next mirror.

A mirror is a copy of DIR, or of DIR/blobs alone, on any web server. All are looked at
every few minutes: which blobs they have, whether some of these are what they should
be, how soon they answer. One that is down, slow, stale or wrong gets nobody until it
is well again.

The file, with all that can be said of a mirror, is described in docs/mirrorlist.md:

  listen: :5000
  mirrors:
    - url: https://mirror.site.example/boot
      networks: [192.0.2.0/24]
    - url: https://far.example/pub/boot/blobs

With --print-config nothing is served: it prints the configuration with which nginx
does the same by itself. nginx looks at no mirror, so with --crawl they are looked at now, and
only those that are well are in it, with the blobs that all of them have: a timer
can write it anew and reload nginx.

SIGTERM ends it: nothing new is begun, and what is being sent may go on for --drain.`,
		Example: `  nbextract mirror serve -c /etc/nbextract/front.yaml /srv/mirror
  # is the file right, and are the mirrors well?
  nbextract mirror serve -c front.yaml --check --crawl --json /srv/mirror
  # without a daemon
  nbextract mirror serve -c front.yaml --print-config nginx --crawl /srv/mirror >/etc/nginx/conf.d/front.conf`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: completeDir,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.run(cmd, env, args[0]) },
	}
	f := cmd.Flags()
	f.StringVarP(&s.file, "config", "c", "", "read mirrors and settings from `FILE` (required)")
	f.StringVar(&s.listen, "listen", "", "serve at `ADDRESS:PORT` (default: as the file says, else :5000)")
	f.StringVar(&s.metrics, "metrics", "", "`ADDRESS:PORT` for /metrics, /healthz and /mirrors (default: as the file says, else none)")
	f.DurationVar(&s.drain, "drain", drain.Default, "`TIME` that transfers may go on when the server is to end")
	f.BoolVar(&s.check, "check", false, "read the file, say what is wrong with it, and do nothing")
	f.BoolVar(&s.crawl, "crawl", false, "with --check or --print-config, look at the mirrors once")
	f.BoolVar(&s.asJSON, "json", false, "with --check --crawl, print what was found as one JSON object")
	f.StringVar(&s.kind, "print-config", "", "print the configuration of a web server (`nginx`) that does the same, and end")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	cli.Values(cmd, "print-config", "nginx")
	cmd.MarkFlagsMutuallyExclusive("check", "print-config")
	return cmd
}

func (s *mirrorServeFlags) run(cmd *cobra.Command, env *cli.Env, dir string) error {
	switch {
	case s.kind != "" && s.kind != "nginx":
		return cli.Usage("--print-config is nginx, not %q", s.kind)
	case s.crawl && !s.check && s.kind == "":
		return cli.Usage("--crawl goes with --check or --print-config; a server looks at the mirrors all the time")
	case s.asJSON && !(s.check && s.crawl):
		return cli.Usage("--json goes with --check --crawl")
	case s.drain < 0:
		return cli.Usage("--drain is not negative")
	}
	if err := checkAddresses(cmd, "listen", "metrics"); err != nil {
		return err
	}
	c, err := front.ReadConfig(s.file)
	if err != nil {
		return err
	}
	if s.listen != "" {
		c.Listen = s.listen
	}
	if s.metrics != "" {
		c.Metrics = s.metrics
	}
	var found *front.Checked
	if s.crawl {
		if found, err = front.Check(cmd.Context(), dir, c, userAgent(), env.Warn); err != nil {
			return err
		}
	}
	switch {
	case s.kind != "":
		return printFront(env.Stdout, dir, c, found)
	case s.check:
		return s.report(env, found)
	}
	return s.serve(cmd.Context(), env, dir, c)
}

// printFront prints what makes nginx a front.
func printFront(out io.Writer, dir string, c *front.Config, found *front.Checked) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	plain, err := mirror.Config("nginx", dir)
	if err != nil {
		return cli.Usage("%w", err)
	}
	text, err := front.Nginx(plain, c, found)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// report tells how the mirrors are. That one is not well has been said, and is no
// failure of the check, unless none is.
func (s *mirrorServeFlags) report(env *cli.Env, found *front.Checked) error {
	if found == nil {
		return nil
	}
	well := 0
	for _, m := range found.Mirrors {
		if m.Up() {
			well++
		}
		if !s.asJSON && !env.Quiet() {
			line := []string{m.Name, m.URL, m.State}
			if m.Why != "" {
				line = append(line, m.Why)
			} else if m.Up() { // also one that has nothing, because its URL is wrong or its first rsync is to come
				line = append(line, fmt.Sprintf("with %d of %d blobs", m.Blobs, found.Blobs()))
			}
			if _, err := io.WriteString(env.Stdout, cli.OneLine(strings.Join(line, " "))+"\n"); err != nil {
				return err
			}
		}
	}
	var err error
	if s.asJSON {
		err = env.JSON(map[string]any{"mirrors": found.Mirrors, "blobs": found.Blobs()})
	}
	if well == 0 {
		err = errors.Join(err, errors.New("no mirror is well"))
	}
	return err
}

func (s *mirrorServeFlags) serve(ctx context.Context, env *cli.Env, dir string, c *front.Config) error {
	server, err := front.New(front.Options{Dir: dir, Config: c, Drain: s.drain, Agent: userAgent(), Log: env.Info, Warn: env.Warn})
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cli.WithHint(err, "another server has the port; choose one with --listen and --metrics")
	case err != nil:
		return err
	}
	env.Info("serving %q at %s, with %d mirrors", dir, server.Addr(), len(c.Mirrors))
	if at := server.AdminAddr(); at != nil {
		env.Info("metrics at %s", at)
	}
	err = server.Run(ctx)
	if err == nil {
		env.Info("stopped")
	}
	return err
}

// checkAddresses refuses flags that are no address to listen at. An empty one means
// that nobody listens.
func checkAddresses(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if at := cmd.Flag(name).Value.String(); at != "" {
			if err := front.CheckAddress(at); err != nil {
				return cli.Usage("--%s: %w", name, err)
			}
		}
	}
	return nil
}
