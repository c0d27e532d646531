package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
	"github.com/nbpack/nbpack/spec"
)

const indexLong = `An index gathers, under one tag, what belongs to one release: containers, netboot
images and artifacts, kernels and disks, for each platform. These commands change
or show one entry of it and keep every other one byte for byte, whoever made it
and whatever else it says. They may run at the same time as others that write the
index; docs/indexes.md says what is guaranteed then.

An INDEX is
  docker://HOST/REPOSITORY:TAG   in a registry; "docker://" may be left out
  oci:DIR:TAG                    in an OCI layout

The identity of an entry is its platform (os, architecture, variant, os.version),
its artifactType, and its disktype or the annotations that --identity names. An
index has one entry of each identity.`

func indexCommand(env *cli.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Add, remove or show entries of an image index",
		Long:  indexLong,
		Example: `  nbpack index add registry.example/os:42 oci-archive:container.tar
  nbpack index show registry.example/os:42
  nbpack index remove --platform arm64 registry.example/os:42`,
	}
	cmd.AddCommand(indexAddCommand(env), indexRemoveCommand(env), indexShowCommand(env), indexCatalogCommand(env))
	return cmd
}

// indexFlags are those that all commands about an index have.
type indexFlags struct {
	registry cli.RegistryFlags
	json     bool
	dryRun   bool
}

func (f *indexFlags) options(env *cli.Env) index.Options {
	return index.Options{DryRun: f.dryRun, Log: env.Warn}
}

// withIndex opens the repository of an index and calls do with it.
func (f *indexFlags) withIndex(ctx context.Context, env *cli.Env, name string, do func(*transport.Client, *transport.Repository, transport.Reference) error) error {
	ref, err := parseIndexReference(name)
	if err != nil {
		return err
	}
	client, err := newClient(env, &f.registry, ref)
	if err != nil {
		return err
	}
	defer client.Close()
	repo, err := client.Repository(ctx, ref)
	if err != nil {
		return err
	}
	defer func() {
		if err := repo.Close(); err != nil {
			env.Warn("removing what is left of the work: %v", err)
		}
	}()
	return do(client, repo, ref)
}

// parseIndexReference reads the name of an index, which has a tag.
func parseIndexReference(name string) (transport.Reference, error) {
	ref, err := transport.ParseReference(name)
	switch {
	case err != nil:
		return ref, err
	case ref.Digest != "":
		return ref, cli.WithHint(cli.Usage("%q names content, which never changes, and not an index under a tag", name), "leave the digest out")
	case ref.Tag == "" || !strings.HasSuffix(name, ":"+ref.Tag):
		// Whoever leaves the tag out hardly means the index "latest".
		return ref, cli.WithHint(cli.Usage("%q names no tag", name), "name the tag of the index, as in HOST/REPOSITORY:TAG or oci:DIR:TAG")
	}
	return ref, nil
}

// parseEntryPlatform reads --platform, which may have the os.version, too.
func parseEntryPlatform(s string) (spec.Platform, error) {
	if s == "" {
		return spec.Platform{}, nil
	}
	parse := spec.ParsePlatform
	if strings.Contains(s, "(") {
		parse = spec.ParseIndexPlatform
	}
	p, err := parse(s)
	if err != nil {
		return p, cli.Usage("--platform: %w", err)
	}
	return p, nil
}

// indexOutput is what "nbpack index add" and "nbpack index remove" print.
type indexOutput struct {
	Reference string `json:"reference"`
	*index.Result
}

// report prints what became of an index: its digest, or in a dry run what would
// be changed.
func (f *indexFlags) report(env *cli.Env, ref transport.Reference, r *index.Result) error {
	env.StopProgress()
	if f.json {
		return env.JSON(indexOutput{ref.String(), r})
	}
	var lines strings.Builder
	for _, c := range r.Changes {
		if f.dryRun {
			lines.WriteString(cli.OneLine(changeLine(c)) + "\n")
		} else {
			env.Info("%s", changeLine(c))
		}
	}
	if !f.dryRun {
		fmt.Fprintln(&lines, r.Digest)
	}
	_, err := fmt.Fprint(env.Stdout, lines.String())
	return err
}

func changeLine(c index.Change) string {
	line := string(c.Action)
	for _, word := range []string{c.Platform, c.DiskType, c.ArtifactType, c.Digest.String()} {
		if word != "" {
			line += " " + word
		}
	}
	if c.Was != "" && c.Was != c.Digest {
		line += " instead of " + c.Was.String()
	}
	if c.Tag != "" {
		line += " (tag " + c.Tag + ")"
	}
	return line
}

// bindWrite binds the flags of commands that change an index.
func (f *indexFlags) bindWrite(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "print what would be changed, write nothing")
	fs.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	f.registry.Bind(fs)
}
