package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/spec"
)

// rebuildFlags are the flags of "nbpack rebuild" as written.
type rebuildFlags struct {
	registry   cli.RegistryFlags
	from       string
	provenance string
	json       bool
	options    pack.RebuildOptions
}

func rebuildCommand(env *cli.Env) *cobra.Command {
	var r rebuildFlags
	cmd := &cobra.Command{
		Use:   "rebuild [flags] --from IMAGE",
		Short: "Build an image again from its sources, and compare the digests",
		Long: `Build again what IMAGE names, as the provenance says that is attached to it (see
nbpack build --provenance), and prove that the same sources and options make the
same image. Of an index every manifest is built again. Nothing is published.
Standard output is the digest of each manifest that is the same.

Sources, lists of checksums and keyrings are looked for in the directories of
--source-dir and below, by digest; names only say where to look first. A source
that is a directory is one of these, or one below of the same name. Images are
found in OCI layouts there. With --fetch, what is not there is fetched from the
web servers and registries that the provenance names. Nothing is fetched without
it, because whoever may write to a repository can attach a provenance.

A source that only has the right name is built from, too, and what differs is
listed: files, labels, annotations. The exit code is then 3.

Signatures of checksums are judged as at the time when they were made: what has
ended since is no reason to doubt an old build.`,
		Example: `  nbpack rebuild --from registry.example/netboot:debian-12 --source-dir ./packages
  nbpack rebuild --from oci:./layout:test --source-dir . --fetch`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd, env) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&r.from, "from", "", "the `IMAGE` (required)")
	fs.StringArrayVar(&r.options.SourceDirs, "source-dir", nil, "look for sources in `DIR` and below (may be repeated)")
	fs.BoolVar(&r.options.Fetch, "fetch", false, "fetch what is not found from where the provenance says that it was")
	fs.StringVar(&r.provenance, "provenance", "", "follow the one with this `DIGEST`, if several are attached")
	fs.BoolVar(&r.json, "json", false, "print the result as one JSON object, also if a digest differs")
	r.registry.Bind(fs)
	return cmd
}

func (r *rebuildFlags) run(cmd *cobra.Command, env *cli.Env) error {
	if r.from == "" {
		return cli.Usage("--from is required")
	}
	o := &r.options
	if r.provenance != "" {
		d, err := spec.ParseDigest(r.provenance)
		if err != nil {
			return cli.Usage("--provenance: %w", err)
		}
		o.Provenance = d
	}
	ref, err := transport.ParseReference(r.from)
	if err != nil {
		return err
	}
	client, err := newClient(env, &r.registry, ref)
	if err != nil {
		return err
	}
	defer client.Close()
	o.Client, o.PlainHTTP = client, r.registry.TLSVerify != nil && !*r.registry.TLSVerify
	o.Log, o.Progress = env.Warn, env.Progress()
	done, err := r.rebuild(cmd.Context(), client, ref)
	if err != nil {
		return err
	}
	env.StopProgress()
	return r.report(env, ref, done)
}

func (r *rebuildFlags) rebuild(ctx context.Context, client *transport.Client, ref transport.Reference) ([]pack.Rebuilt, error) {
	src, err := client.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return pack.Rebuild(ctx, src, r.options)
}

// report prints what was found. Differences are an error, after the result.
func (r *rebuildFlags) report(env *cli.Env, ref transport.Reference, done []pack.Rebuilt) error {
	var same strings.Builder
	var other []pack.Rebuilt
	for _, b := range done {
		if b.Same {
			fmt.Fprintln(&same, b.Digest)
		} else {
			other = append(other, b)
		}
	}
	var err error
	if r.json {
		err = env.JSON(struct {
			Reference string         `json:"reference"`
			Manifests []pack.Rebuilt `json:"manifests"`
		}{ref.String(), done})
	} else {
		_, err = fmt.Fprint(env.Stdout, same.String())
	}
	if err != nil || len(other) == 0 {
		return err
	}
	for _, b := range other {
		warnDifferences(env, &b)
	}
	return &differsError{other[0].Digest, other[0].Rebuilt, len(other), len(done)}
}

// warnDifferences says what differs, as far as people read.
func warnDifferences(env *cli.Env, b *pack.Rebuilt) {
	const most = 20
	for _, i := range b.Found {
		if i.Changed {
			env.Warn("%s %q in %q is not what was built from, which has the digest %s", i.Role, i.Name, i.At, i.Promised)
		}
	}
	for n, d := range b.Differences {
		if n == most {
			env.Warn("%s: and %d more differences, see --json", b.Digest, len(b.Differences)-most)
			break
		}
		env.Warn("%s: %s", b.Digest, d)
	}
	if now := cli.Version(); b.Tool != now {
		env.Warn("%s was built by nbpack %q, this is %q", b.Digest, b.Tool, now)
	}
}

// differsError says that a rebuild made something else: exit code 3.
type differsError struct {
	was, is   digest.Digest
	some, all int
}

func (e *differsError) Error() string {
	s := fmt.Sprintf("%s cannot be reproduced: building it again gives %s", e.was, e.is)
	if e.all > 1 {
		s += fmt.Sprintf(" (%d of %d manifests differ)", e.some, e.all)
	}
	return s
}

func (*differsError) ExitCode() int { return 3 }
