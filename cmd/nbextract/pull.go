package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

func pullCommand(env *cli.Env) *cobra.Command {
	var (
		o         extract.Options
		registry  cli.RegistryFlags
		mirrors   failoverFlags
		platforms []string
		set       []string
		live      string
		hooks     hookFlags
		menus     menuFlags
		signed    trustFlags
		worn      wearFlags
		itemize   bool
		from      string
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "pull [flags] IMAGE... -d DIR",
		Short: "Bring the boot trees of images up to date",
		Long: `Pull brings the boot trees of the named images below DIR up to date.

IMAGE is a registry reference (registry.example/netboot:fedora-42, with or
without docker://), an OCI layout (oci:DIR:TAG), an archive of one
(oci-archive:FILE), a directory as skopeo writes it (dir:DIR) or an image that
podman or buildah has here (containers-storage:NAME:TAG).

The content may be a netboot image or any of the artifacts that hold boot files:
those of nbpack, of nboci, of "podman manifest add --artifact" and of oras. Disks,
single files and containers beside them in an index are passed by.

A tag that did not move and a tree that nobody touched cost one request. A
managed file that is missing or changed is repaired. Files that nbextract did
not put there stay; where one is in the way of the image, nothing is changed.

The layout decides the path of a tree below DIR, and for consumers with conventions
of their own the names in it. The preset "default" is {os.name}/{os.version}/{os.arch}
from the labels of the image, "flat" puts the files directly into DIR, and there are
presets for Foreman, Cobbler, Matchbox, Tinkerbell, nboci, and for trees as Debian
and Ubuntu publish them: see docs/layouts.md. Any template of such names can be
given, with architectures as others spell them: {arch.rpm}, {arch.deb}, {arch.oci}.
With several --layout an image stands in all of them, each file once on the disk.

Files are 0444, directories 0755, and owned by who runs this; --chown, --chmod and
--selinux-label say otherwise, and what they say is kept by later updates.

With --menu the boot directory gets boot menus for grub, pxelinux or iPXE, with an
entry for each image in it, and keeps them up to date with every command from then on,
until --menu none. A file that nbextract did not write is never replaced. See
docs/menus.md.

With --key, --certificate-identity or --signature-policy nothing is laid out
unless its signatures suffice. That is found out by the digest that the tag names,
before anything below it is read. It is remembered: a tag that did not move is not
verified again, unless the demands are others than those it was accepted under.

Blobs can come from mirrors that nobody trusts (--mirror): each goes on elsewhere
when a mirror fails or lies. A URL that ends in /blobs is a directory of plain files.
See docs/failover.md.

With --from the images and their signatures are read from a bundle, as "nbpack
bundle create" writes it, and no network is used. IMAGE stays the reference in the
registry, and so does the record: a later pull with a network goes on from there.
Of a bundle that was made for some platforms these are the ones to choose from.`,
		Example: `  # amd64 of a release, from cron
  nbextract pull --quiet --platform linux/amd64 registry.example/netboot:fedora-42 -d /var/lib/tftpboot

  # every architecture of two releases
  nbextract pull --platform all registry.example/netboot:debian-12 registry.example/netboot:debian-13 -d /srv/tftp

  # only what the distribution has signed
  nbextract pull --key /etc/nbextract/release.pub --platform all registry.example/netboot:debian-12 -d /srv/tftp

  # the bytes from near, what they must be from the registry
  nbextract pull --mirror https://mirror.site.example/boot registry.example/netboot:fedora-42 -d /srv/tftp

  # on a machine without a network, from what was carried there
  nbextract pull --from oci:/media/stick/bundle registry.example/netboot:debian-12 -d /srv/tftp

  # for Foreman and for plain boot servers at once
  nbextract pull --layout foreman --layout default registry.example/netboot:debian-12 -d /var/lib/tftpboot

  # with menus that machines can boot from at once
  nbextract pull --menu grub,pxelinux --menu-args console=ttyS0 registry.example/netboot:debian-12 -d /srv/tftp

  # what would change, itemised as rsync does
  nbextract pull --dry-run oci:release:debian-12 -d /srv/tftp`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseReferences(args)
			if err != nil {
				return err
			}
			if err := pullOptions(&o, platforms, set, live); err != nil {
				return err
			}
			if o.Attributes, err = worn.parse(); err != nil {
				return err
			}
			bundle, err := openFrom(cmd, from, refs)
			if err != nil {
				return err
			}
			if bundle != nil {
				defer bundle.Close()
			}
			if o.Hooks, err = hooks.parse(env); err != nil {
				return err
			}
			if err := menus.parse(&o); err != nil {
				return err
			}
			if err := mirrors.check(cmd); err != nil {
				return err
			}
			o.MirrorHealth = extract.MirrorHealth(o.Dir)
			access := clientOptions(env, &registry, o.Dir)
			access.From = bundle
			mirrors.apply(&access, o.MirrorHealth)
			client, err := transport.NewClient(access)
			if err != nil {
				return err
			}
			defer client.Close()
			if o.Trust, err = signed.parse(cmd, client); err != nil {
				return err
			}
			o.Log, o.Warn, o.Progress = env.Info, env.Warn, env.Progress()
			report, err := extract.Pull(cmd.Context(), client, refs, o)
			env.StopProgress()
			err = lacking(bundle, err)
			if err != nil && len(report.Trees) == 0 {
				return err
			}
			// What was done before a failure is done: the result tells of it.
			return errors.Join(err, printResult(env, report, asJSON, itemize || o.DryRun))
		},
	}
	dirFlag(cmd, &o.Dir)
	jsonFlag(cmd, &asJSON)
	registry.Bind(cmd.Flags())
	mirrors.bind(cmd)
	hooks.bind(cmd)
	menus.bind(cmd)
	signed.bind(cmd)
	worn.bind(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&platforms, "platform", nil, "`PLATFORM`[,PLATFORM...] to lay out, such as linux/amd64 or aarch64, or all (default: the only one there is)")
	cli.Platforms(cmd, "all")
	f.StringVar(&from, "from", "", "read the images from the `BUNDLE` oci:DIR or oci-archive:FILE, and use no network")
	layoutFlag(cmd, &o.Layouts, "")
	f.StringArrayVar(&set, "set", nil, "`LABEL=VALUE` to use instead of the image's own, such as os.name=fedora")
	cli.Keys(cmd, "set", "os.name", "os.version", "os.arch")
	f.StringVar(&live, "live", "", "`dir|link`: what stands at the live path (default: what is there, else dir)")
	cli.Values(cmd, "live", "dir", "link")
	f.IntVar(&o.Keep, "keep", bootdir.DefaultKeep, "`N` generations of a tree to keep, the live one counts")
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be done and change nothing")
	f.BoolVarP(&o.Checksum, "checksum", "c", false, "judge the files in place by content, not by size and times")
	f.BoolVarP(&itemize, "itemize-changes", "i", false, "print a line for each change")
	f.BoolVar(&o.AllowDowngrade, "allow-downgrade", false, "accept an image older than the installed one")
	f.BoolVar(&o.AllowGap, "allow-gap", false, "accept a moment without a live path where the filesystem knows no other way")
	return cmd
}

// pullOptions completes o with the flags that need reading.
func pullOptions(o *extract.Options, platforms, set []string, live string) error {
	o.Platforms = platforms
	for _, p := range platforms {
		if p == "all" && len(platforms) > 1 {
			return cli.Usage("--platform all stands alone")
		}
	}
	switch o.Live = bootdir.LiveMode(live); o.Live {
	case "", bootdir.ModeDir, bootdir.ModeLink:
	default:
		return cli.Usage("--live is dir or link, not %q", live)
	}
	if o.Keep < 1 {
		return cli.Usage("--keep is at least 1, not %d", o.Keep)
	}
	for _, s := range set {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return cli.Usage("--set wants LABEL=VALUE, not %q", s)
		}
		if o.Set == nil {
			o.Set = map[string]string{}
		}
		o.Set[key] = value
	}
	return nil
}

// layoutFlag adds the flag for layouts, with the presets for shells to complete.
func layoutFlag(cmd *cobra.Command, to *[]string, when string) {
	cmd.Flags().StringArrayVar(to, "layout", []string{"default"}, when+"preset ("+strings.Join(layout.Names(), ", ")+") or `TEMPLATE` for the path of a tree; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("layout", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var list []cobra.Completion
		for _, p := range layout.Presets() {
			list = append(list, cobra.CompletionWithDesc(p.Name, p.About))
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	})
}

func printResult(env *cli.Env, report *extract.Report, asJSON, itemize bool) error {
	if asJSON {
		return env.JSON(report)
	}
	return printReport(env, report, itemize)
}

// printReport prints a line for each tree, and nothing for a cron job that
// wants to hear of errors only.
func printReport(env *cli.Env, report *extract.Report, itemize bool) error {
	if env.Quiet() {
		return nil
	}
	for _, t := range report.Trees {
		if itemize && t.Itemized != nil {
			if err := t.Itemized.Itemize(env.Stdout); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s %s %s\n", t.Path, t.Digest, verdict(t)); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the end of a tree's line.
func verdict(t extract.TreeReport) string {
	switch {
	case t.Pinned && !t.Changed:
		return "pinned"
	case t.DryRun && t.Changed:
		return fmt.Sprintf("would change: %d files to write, %d to keep, %d to remove", t.Files.Written, t.Files.Kept, t.Files.Removed)
	case t.Changed:
		return fmt.Sprintf("changed: %d files written, %d kept, %d removed", t.Files.Written, t.Files.Kept, t.Files.Removed)
	}
	return "unchanged"
}
