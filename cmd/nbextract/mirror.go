package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract/mirror"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

// mirrorFlags are those of the command that fills a mirror.
type mirrorFlags struct {
	opts        mirror.Options
	registry    cli.RegistryFlags
	file        string
	attachments string
	grace       time.Duration
	web         webFlags
	asJSON      bool
}

func mirrorCommand(env *cli.Env) *cobra.Command {
	m := &mirrorFlags{}
	cmd := &cobra.Command{
		Use:   "mirror [flags] REF... DIR",
		Short: "Fill a directory that a web server gives out as a registry",
		Long: `Mirror brings images and artifacts of any kind into DIR, a tree of plain files that
nginx, Apache or Caddy serves as a read-only registry: podman, skopeo, crane, oras,
Ironic and nbextract pull from it by the names that the repositories have in their
registries. rsync -aH copies it to other machines.

REF is a reference as in pull. Its tag may be a pattern (registry.example/netboot:*),
it may name an image of a bundle (oci:BUNDLE:registry.example/netboot:fedora-42), and
--file has more of them. Indexes come with all entries, or with those for the
platforms of --platform; manifests and indexes keep their bytes, and so their digests
and signatures. What refers to them comes along: referrers, and the .sig, .att and
.sbom tags of cosign.

A reference that did not move costs one request. Files of the tree that are lost are
fetched again, and with --checksum damaged ones, too. Every byte is proved by its
digest, and nothing is visible before all that it needs is there: a web server, or an
rsync, may look at any moment, and a run that is killed is continued by the next.

Boot files that are layers as they are (netboot artifacts) are hard links of their
blobs, in DIR/boot/NAME/VERSION/ARCH. With --boot-trees those of images are laid out
there, too, as pull does; they take room of their own.

What no reference names any more stays, unless --prune is given. Then it goes after a
grace time, and not if too large a share of the tags would go at once.

With --print-config nothing is fetched: it prints the configuration for DIR of a web
server, or with "rsync" a script for machines that copy the mirror. See docs/mirror.md.`,
		Example: `  # two releases and everything of a third repository, from cron
  nbextract mirror --quiet --prune registry.example/netboot:fedora-42 registry.example/netboot:fedora-43 'registry.example/ironic:*' /srv/mirror

  # only what boots on two architectures, named by a file
  nbextract mirror --platform amd64,arm64 -f images.txt /srv/mirror

  # from a bundle, where there is no registry
  nbextract mirror oci:bundle:registry.example/netboot:fedora-42 /srv/mirror

  # the web server for it
  nbextract mirror --print-config nginx /srv/mirror >/etc/nginx/conf.d/mirror.conf`,
		Args: cobra.MinimumNArgs(1),

		ValidArgsFunction: completeDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			m.opts.Dir = args[len(args)-1]
			if m.web.kind != "" {
				return m.web.print(env.Stdout, m.opts.Dir, len(args)-1)
			}
			return m.run(cmd, env, args[:len(args)-1])
		},
	}
	m.bind(cmd)
	cmd.AddCommand(newMirrorServeCommand(env))
	return cmd
}

func (m *mirrorFlags) bind(cmd *cobra.Command) {
	jsonFlag(cmd, &m.asJSON)
	m.registry.Bind(cmd.Flags())
	m.web.bind(cmd)
	f := cmd.Flags()
	f.StringVarP(&m.file, "file", "f", "", "read more references from `FILE`, one in a line; # begins a comment, - is standard input")
	f.StringSliceVar(&m.opts.Platforms, "platform", nil, "`PLATFORM`[,PLATFORM...] whose entries of indexes to bring, such as linux/amd64 or aarch64 (default: all)")
	cli.Platforms(cmd, "all")
	f.StringVar(&m.opts.Repository, "repository", "", "put all images into the repository `NAME` of the mirror (default: the names that they have)")
	f.StringVar(&m.attachments, "attachments", string(mirror.AttachmentsNew), "`new|always|never`: when to ask for signatures and other referrers of a manifest: when it comes into the mirror, in every run, not at all")
	f.BoolVar(&m.opts.BootTrees, "boot-trees", false, "lay out the boot trees of images below DIR/boot")
	f.BoolVarP(&m.opts.Checksum, "checksum", "c", false, "read what is there, and judge it by content instead of size")
	f.BoolVar(&m.opts.Prune, "prune", false, "remove what no reference names any more, after --grace")
	f.DurationVar(&m.grace, "grace", mirror.DefaultGrace, "`TIME` that it stays, from the first run with --prune that misses it")
	f.IntVar(&m.opts.Share, "prune-share", mirror.DefaultShare, "remove nothing if more than `PERCENT` of the tags would go")
	f.BoolVar(&m.opts.Force, "force", false, "with --prune, remove more than that")
	f.IntVarP(&m.opts.Jobs, "jobs", "j", mirror.DefaultJobs, "`N` images to look after at once")
	f.BoolVarP(&m.opts.DryRun, "dry-run", "n", false, "say what would be done and change nothing")
	_ = cmd.MarkFlagFilename("file")
	cli.Values(cmd, "attachments", "new", "always", "never")
}

func (m *mirrorFlags) run(cmd *cobra.Command, env *cli.Env, args []string) error {
	if err := m.complete(env); err != nil {
		return err
	}
	refs, err := m.references(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	client, err := newClient(env, &m.registry, "")
	if err != nil {
		return err
	}
	defer client.Close()
	report, err := mirror.Run(cmd.Context(), client, refs, m.opts)
	env.StopProgress()
	if m.asJSON {
		return errors.Join(err, env.JSON(report))
	}
	return errors.Join(err, printMirror(env.Stdout, report))
}

// complete checks the flags that need it.
func (m *mirrorFlags) complete(env *cli.Env) error {
	m.opts.Log, m.opts.Warn = env.Info, env.Warn
	switch m.opts.Attachments = mirror.Attachments(m.attachments); m.opts.Attachments {
	case mirror.AttachmentsNew, mirror.AttachmentsAlways, mirror.AttachmentsNever:
	default:
		return cli.Usage("--attachments is new, always or never, not %q", m.attachments)
	}
	if m.opts.Jobs < 1 {
		return cli.Usage("--jobs is at least 1, not %d", m.opts.Jobs)
	}
	if m.opts.Share < 1 || m.opts.Share > 100 {
		return cli.Usage("--prune-share is a number from 1 to 100, not %d", m.opts.Share)
	}
	if m.grace < 0 {
		return cli.Usage("--grace is a time from 0, not %v", m.grace)
	}
	if m.opts.Grace = m.grace; m.grace == 0 {
		m.opts.Grace = -1 // its zero value means the default
	}
	if len(m.opts.Platforms) == 1 && m.opts.Platforms[0] == "all" {
		m.opts.Platforms = nil
	}
	// A reference too many is easily taken for the directory that was forgotten.
	if _, err := os.Stat(m.opts.Dir); os.IsNotExist(err) && !strings.HasPrefix(m.opts.Dir, "/") && !strings.HasPrefix(m.opts.Dir, ".") {
		if ref, err := transport.ParseReference(m.opts.Dir); err == nil && ref.Transport == transport.Docker {
			return cli.WithHint(cli.Usage("%q looks like a reference, and the last argument is the directory of the mirror", m.opts.Dir), "write ./ in front if it is a directory")
		}
	}
	return nil
}

// references reads those of the command line and of the file.
func (m *mirrorFlags) references(stdin io.Reader, args []string) ([]mirror.Reference, error) {
	var refs []mirror.Reference
	add := func(name string) error {
		ref, err := mirror.ParseReference(name)
		refs = append(refs, ref)
		return err
	}
	for _, arg := range args {
		if err := add(arg); err != nil {
			return nil, cli.Usage("%w", err)
		}
	}
	if m.file != "" {
		list, err := cli.ReadList(m.file, stdin)
		if err == nil {
			err = list.Each(add)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(refs) == 0 && m.file == "" {
		return nil, cli.Usage("there is nothing to mirror: name references before the directory, or a file of them with --file")
	}
	return refs, nil
}

// printMirror prints a line for all that changed.
func printMirror(w io.Writer, r *mirror.Report) error {
	verb := map[bool]string{false: "", true: "would be "}[r.DryRun]
	var b strings.Builder
	for _, i := range r.Images {
		if i.Changed {
			name := i.Repository
			if i.Tag != "" {
				name += ":" + i.Tag
			}
			fmt.Fprintf(&b, "%s %s %schanged\n", name, i.Digest, verb)
		}
	}
	for _, t := range r.Boot {
		if t.Changed {
			fmt.Fprintf(&b, "%s %s %schanged\n", t.Path, t.Digest, verb)
		}
	}
	for _, name := range append(r.Removed.Tags, r.Removed.Boot...) {
		fmt.Fprintf(&b, "%s %sremoved\n", name, verb)
	}
	if n := r.Removed.Manifests + r.Removed.Blobs; n > 0 {
		fmt.Fprintf(&b, "%d manifests and %d blobs of %d bytes %sremoved\n", r.Removed.Manifests, r.Removed.Blobs, r.Removed.Bytes, verb)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
