package main

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/spec"
)

const buildLong = `Pack all SOURCEs into one netboot image and write it to IMAGE. Standard output is
the digest of the image manifest.

A SOURCE is, told by its first bytes or by how it is written, one of
  DIR                    a directory
  FILE                   a tar archive (plain, gzip, xz, zstd), a .deb or .rpm
                         package, an ISO 9660 image, or any other file
  file:FILE              a file that is packed as it is, also if it is an archive
  https://…              one of these, on a web server; URL/ is an install tree,
                         where .treeinfo or SHA256SUMS name the files;
                         URL#sha256=HEX pins the content
  IMAGE                  with its prefix (docker://, oci:, oci-archive:, dir:,
                         containers-storage:): a netboot image, or the result of
                         a Containerfile

What is in a directory or an archive goes to the top of the boot tree, a source
file goes there under its own name. Of packages that are known to hold boot files
only those are taken, for example the text flavour of debian-installer-*-netboot-*,
and --include offers the rest; --dry-run tells. Of an ISO image the files that
UEFI starts from are found in its EFI image too.

Platform, os name and version need not be given where all sources that say
something about them say the same.

Several sources are merged; a file that two of them have is refused, unless it is
the same. Links stay links if they are relative and what they point to is packed
too; other links, devices, pipes and sockets are refused.

The entrypoints are the files that firmware starts: shim for UEFI (--entrypoint),
grub as the alternative (--alt-entrypoint), pxelinux for a BIOS
(--legacy-entrypoint). Those that are not given are found by their usual names.
The image gets the links BOOT, BOOTA and BOOTL beside them. A first stage and the
second stage that it loads have to lie in one directory, because firmware and
shim ask for the next file beside the one they were given.

Globs of --include and --exclude: an element of a path matches as in a shell
(*, ?, [a-z]), an element ** stands for any number of directories. A glob with a
slash is matched from the top, one without matches a file or directory of that
name anywhere. What matches a directory holds for all that is in it. --exclude
wins over --include.

--checksums compares the files while they are packed, with any number of
  FILE                   a plain list as sha256sum writes it that nobody signed:
                         made for this tree, it has to list exactly what is packed
  .treeinfo              what a publisher says: a file that it names has to agree,
                         others are packed too, unless --require-verified is given
  SHA256SUMS SHA256SUMS.gpg
                         a list and its detached signature (.gpg, .asc, .sig,
                         .sign), or one that is signed in the clear, likewise
  SHA256SUMS InRelease   a list, or the Packages of an archive, that a signed
                         Release file names
  https://…              any of these on a web server
With --keyring nothing counts that is not rooted in a signature by one of its keys.
A publisher's list may also name a SOURCE itself: an archive, a package, an ISO
image. Of what publishers' lists cover, the annotation
org.pulpproject.netboot.verified-by tells, and a file VERSION in the boot tree, see
--version-file.

Names are matched by --include, --exclude, --checksums and --rename as the
sources have them; the entrypoint flags use the names after --rename.

--format artifact writes a netboot artifact instead: each file is a blob of its
own, as it is, so that any web server can serve it. An artifact has no links: a
link of the sources becomes a copy of what it leads to, which takes no space in a
registry, and consumers make the entrypoint links themselves.

--format file makes a small artifact of a SOURCE that is a file: a kernel, a
ramdisk or a disk image for Ironic, which fetches one file by the digest of its
manifest. Standard output is its URL, oci://HOST/REPOSITORY@DIGEST, or the digest
where IMAGE is not in a registry. The blob is the one that a netboot artifact of
the same file has, so a registry keeps it once. What the file is, --disktype, is
found by its name and its first bytes. A disk image that is itself compressed by
zstd or gzip gets a media type that says so, and Ironic unpacks it.

--index puts what is built into the index at the tag of IMAGE, which is made if it
does not exist, in the place of the entry for the same platform and os version if
there is one. Every other entry stays byte for byte. What is built gets a tag of
its own beside it, TAG-ARCH[VARIANT][-DISKTYPE] as in debian-12-armv7. Builds for
several platforms may run at once. See "nbpack index --help".

--provenance attaches a statement that says from what and how it was built, from
which nbpack rebuild makes the same digest again, and --sbom a list of its files
and of the packages that they came from. See docs/provenance.md.

--sign-key signs what was built, what is attached to it, and the index. See "nbpack
sign --help", also for where the passphrase comes from.

-f packs what a recipe says, a YAML file, for all its platforms (or those of --only)
into one index, and prints the digest of the index. All platforms are read and
checked before the first is published. IMAGE is by default that of the recipe.
What the recipe can say is not taken from flags; --set gives its variables values.
See docs/recipe.md.

The sources must hold still: if a file changes while it is packed, the build
fails and nothing is published. The tag of IMAGE is written last.`

const buildExample = `  # Debian's netboot tree, to a registry
  nbpack build --os-name debian --os-version 12 --platform linux/amd64 \
      ./netboot registry.example/netboot:debian-12

  # what would be packed
  nbpack build --platform aarch64 --dry-run ./EFI ./vmlinuz ./initrd.img oci:out

  # the same files and the same SOURCE_DATE_EPOCH give the same digest
  SOURCE_DATE_EPOCH=1700000000 nbpack build --os-name fedora --os-version 42 \
      --platform linux/amd64 --rename images/pxeboot=. --exclude '*.iso' \
      ./tree oci-archive:fedora.tar:42

  # the files as blobs of their own, and a kernel for Ironic
  nbpack build --format artifact --os-name debian --os-version 12 \
      --platform linux/amd64 ./netboot registry.example/netboot:debian-12-files
  nbpack build --format file --platform linux/amd64 \
      ./netboot/vmlinuz registry.example/netboot:debian-12-vmlinuz

  # several architectures under one tag
  nbpack build --index --os-name debian --os-version 12 --platform linux/arm64 \
      ./netboot-arm64 registry.example/netboot:debian-12

  # only files with the checksums that their publisher says
  nbpack build --platform linux/amd64 --checksums ./netboot/SHA256SUM \
      ./netboot oci:./layout:test`

// buildFlags are the flags of "nbpack build" as written.
type buildFlags struct {
	registry    cli.RegistryFlags
	format      string
	platform    string
	compression string
	layers      string
	renames     []string
	labels      []string
	annotations []string
	dryRun      bool
	json        bool
	digestFile  string
	versionFile bool
	lint        string
	index       bool
	wrap        bool
	recipe      recipeFlags
	sign        buildSign
	attach      buildAttach
	options     pack.Options
}

func buildCommand(env *cli.Env) *cobra.Command {
	var b buildFlags
	cmd := &cobra.Command{
		Use:     "build [flags] SOURCE... IMAGE | build -f RECIPE [flags] [IMAGE]",
		Short:   "Pack directories and files into an image or an artifact",
		Long:    buildLong,
		Example: buildExample,
		Args:    func(cmd *cobra.Command, args []string) error { return b.buildArgs(cmd, args) },
		RunE:    func(cmd *cobra.Command, args []string) error { return b.run(cmd, env, args) },
	}
	b.bind(cmd)
	return cmd
}

func (b *buildFlags) bind(cmd *cobra.Command) {
	o, fs := &b.options, cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&b.platform, "platform", "", "`OS/ARCH[/VARIANT]` that the files are for; x86_64, aarch64 and the like mean linux (default: what the sources say)")
	cli.Platforms(cmd)
	fs.StringVar(&o.OSName, "os-name", "", "`NAME` of the operating system, as in fedora (default: what the sources say)")
	fs.StringVar(&o.OSVersion, "os-version", "", "its `VERSION`, as in 42 (default: what the sources say)")
	fs.StringVar(&o.Entrypoint, "entrypoint", "", "`PATH` in the tree of what UEFI starts first, usually shim")
	fs.StringVar(&o.AltEntrypoint, "alt-entrypoint", "", "`PATH` of the alternative, usually grub")
	fs.StringVar(&o.LegacyEntrypoint, "legacy-entrypoint", "", "`PATH` of what a BIOS starts, usually pxelinux")
	fs.StringArrayVar(&o.Include, "include", nil, "pack only what matches `GLOB` (may be repeated)")
	fs.StringArrayVar(&o.Exclude, "exclude", nil, "leave out what matches `GLOB` (may be repeated)")
	fs.StringArrayVar(&b.renames, "rename", nil, "`OLD=NEW`: give a file or directory another path; NEW . means the top (may be repeated)")
	fs.BoolVar(&o.Flatten, "flatten", false, "put every file at the top, under its base name")
	fs.StringArrayVar(&o.Checksums, "checksums", nil, "`FILE|URL` with checksums, or a signature of one, that files are compared with while they are packed (may be repeated)")
	fs.StringArrayVar(&o.Keyrings, "keyring", nil, "`FILE` with OpenPGP keys of publishers: all --checksums must be rooted in a signature by one of them (may be repeated)")
	fs.BoolVar(&o.RequireVerified, "require-verified", false, "refuse files that no publisher's checksum is known of")
	fs.BoolVar(&b.versionFile, "version-file", false, "add a file VERSION that tells where the files come from (default: if a publisher's checksums cover any)")
	fs.StringVar(&b.format, "format", string(pack.FormatImage), "`image|artifact|file`: an image, an artifact of the files as they are, or one for a single file")
	fs.StringVar(&o.DiskType, "disktype", "", "`qcow2|raw|kernel|ramdisk`: what a single file is, if its name and content do not tell")
	fs.StringVar(&b.layers, "layers", "single", "`single|per-file`: one layer of an image, or one for each file")
	fs.StringVar(&b.compression, "compression", string(archive.ZstdChunked), "`zstd:chunked|zstd|gzip|none` for the layers of an image")
	fs.StringArrayVar(&b.labels, "label", nil, "`KEY=VALUE`: add a label to the image (may be repeated)")
	fs.StringArrayVar(&b.annotations, "annotation", nil, "`KEY=VALUE`: add an annotation to the manifest (may be repeated)")
	fs.StringVar(&b.lint, "lint", string(pack.LintWarn), "`off|warn|error`: look for what keeps the files from booting, and warn, or refuse to publish; see nbpack lint")
	fs.BoolVar(&b.index, "index", false, "put it into the index at the tag of IMAGE, and keep every other entry")
	fs.BoolVar(&b.wrap, "wrap", false, "with --index, if that tag holds a single image: make it an index with that image as its first entry")
	fs.BoolVar(&b.dryRun, "dry-run", false, "print what would be packed, write nothing")
	fs.BoolVar(&b.json, "json", false, "print the result as one JSON object")
	fs.StringVar(&b.digestFile, "digest-file", "", "write the digest to `FILE` too")
	b.attach.bind(cmd)
	b.sign.bind(cmd)
	b.recipe.bind(cmd)
	b.registry.Bind(fs)
	cli.Values(cmd, "format", "image", "artifact", "file")
	cli.Values(cmd, "disktype", "qcow2", "raw", "kernel", "ramdisk")
	cli.Values(cmd, "lint", "off", "warn", "error")
	cli.Values(cmd, "layers", "single", "per-file")
	cli.Values(cmd, "compression", "zstd:chunked", "zstd", "gzip", "none")
}

// parse turns what was written into options.
func (b *buildFlags) parse(cmd *cobra.Command) error {
	o := &b.options
	var err error
	if cmd.Flag("platform").Changed {
		if o.Platform, err = spec.ParsePlatform(b.platform); err != nil {
			return cli.Usage("--platform: %w", err)
		}
	}
	if o.Format, err = pack.ParseFormat(b.format); err != nil {
		return cli.Usage("--format: %w", err)
	}
	if o.Lint, err = pack.ParseLintMode(b.lint); err != nil {
		return cli.Usage("--lint: %w", err)
	}
	if err := b.parseLayers(cmd); err != nil {
		return err
	}
	for _, m := range []struct {
		flag string
		from []string
		to   *map[string]string
	}{{"rename", b.renames, &o.Rename}, {"label", b.labels, &o.Labels}, {"annotation", b.annotations, &o.Annotations}} {
		if *m.to, err = pairs(m.flag, m.from); err != nil {
			return err
		}
	}
	for _, flag := range []string{"entrypoint", "alt-entrypoint", "legacy-entrypoint", "os-name", "os-version", "disktype", "digest-file", "sign-key", "file"} {
		if f := cmd.Flag(flag); f.Changed && f.Value.String() == "" {
			return cli.Usage("--%s is empty", flag)
		}
	}
	if cmd.Flag("version-file").Changed {
		o.VersionFile = &b.versionFile
	}
	o.ModTime, err = cli.SourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
	return err
}

// parseLayers reads the flags that only images have: for other formats their
// defaults mean nothing.
func (b *buildFlags) parseLayers(cmd *cobra.Command) error {
	o := &b.options
	compression, err := archive.ParseCompression(b.compression)
	if err != nil {
		return cli.Usage("--compression: %w", err)
	}
	if o.Format == pack.FormatImage || cmd.Flag("compression").Changed {
		o.Compression = compression
	}
	switch b.layers {
	case "single":
	case "per-file":
		o.PerFileLayers = true
	default:
		return cli.Usage("--layers: want single or per-file, got %q", b.layers)
	}
	if o.Format != pack.FormatImage && cmd.Flag("layers").Changed {
		return cli.WithHint(cli.Usage("--layers is only for images"), "the files of an artifact are stored as they are, one to a layer")
	}
	return nil
}

// pairs reads KEY=VALUE arguments.
func pairs(flag string, list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, cli.Usage("--%s: %q has no form KEY=VALUE", flag, s)
		}
		if _, twice := m[k]; twice {
			return nil, cli.Usage("--%s: %q is given twice", flag, k)
		}
		m[k] = v
	}
	return m, nil
}

func (b *buildFlags) run(cmd *cobra.Command, env *cli.Env, args []string) error {
	if err := b.parse(cmd); err != nil {
		return err
	}
	if b.recipe.file != "" {
		return b.runRecipe(cmd, env, args)
	}
	dst, err := transport.ParseReference(args[len(args)-1])
	if err != nil {
		return err
	}
	if err := b.parseIndex(args[len(args)-1], dst); err != nil {
		return err
	}
	b.options.Sources = args[:len(args)-1]
	return b.pack(cmd.Context(), env, dst, func() ([]*pack.Plan, error) {
		plan, err := pack.Scan(cmd.Context(), b.options)
		return []*pack.Plan{plan}, err
	})
}

// pack packs what scan plans.
func (b *buildFlags) pack(ctx context.Context, env *cli.Env, dst transport.Reference, scan func() ([]*pack.Plan, error)) error {
	o := &b.options
	o.Log, o.Progress = env.Warn, env.Progress()
	client, err := newClient(env, &b.registry, dst)
	if err != nil {
		return err
	}
	defer client.Close()
	o.Client, o.PlainHTTP = client, b.registry.TLSVerify != nil && !*b.registry.TLSVerify
	if err := b.attach.check(dst); err != nil {
		return err
	}
	o.Describe = b.attach.wanted()
	plans, err := scan()
	if err != nil {
		return err
	}
	defer func() {
		for _, plan := range plans {
			_ = plan.Close() // nothing was written through it
		}
	}()
	for _, plan := range plans {
		if err := plan.CheckDestination(dst); err != nil {
			return err
		}
	}
	if err := b.sign.open(ctx, env, dst); err != nil {
		return err
	}
	if b.dryRun && b.recipe.file != "" {
		return printPlans(env, plans, b.json)
	}
	if b.dryRun {
		return printPlan(env, plans[0], b.json)
	}
	results, into, err := b.inIndex(ctx, env, client, dst, func() ([]pack.Result, error) {
		return pack.BuildAll(ctx, client, plans, dst)
	})
	if err != nil {
		return err
	}
	attached, err := b.attach.attach(ctx, client, plans, dst, results)
	if err != nil {
		return err
	}
	if err := b.sign.sign(ctx, client, dst, results, attached, into); err != nil {
		return err
	}
	env.StopProgress()
	if b.recipe.file != "" {
		return b.reportRecipe(env, results, into)
	}
	return b.report(env, results, into)
}
