package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/spec"
)

// recipeFlags are the flags of "nbpack build -f" as written.
type recipeFlags struct {
	file string
	only []string
	set  []string
}

// withRecipe are the flags that mean something with a recipe, beside those that
// all commands have. What is packed is the recipe's concern alone: a flag that it
// could say too would make two truths.
func withRecipe() []string {
	return []string{
		"file", "only", "set", "wrap", "lint", "dry-run", "json", "digest-file", "provenance", "sbom", "sign-key", "passphrase-file",
		"authfile", "creds", "cert-dir", "tls-verify",
	}
}

func (f *recipeFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.file, "file", "f", "", "pack all platforms of the recipe in `FILE` into one index")
	fs.StringArrayVar(&f.only, "only", nil, "with -f, only this `PLATFORM` (may be repeated)")
	fs.StringArrayVar(&f.set, "set", nil, "with -f, `NAME=VALUE` for ${NAME} in the recipe (may be repeated)")
}

// buildArgs counts the arguments.
func (b *buildFlags) buildArgs(cmd *cobra.Command, args []string) error {
	if b.recipe.file != "" {
		return cobra.MaximumNArgs(1)(cmd, args)
	}
	if len(b.recipe.only) > 0 || len(b.recipe.set) > 0 {
		return cli.Usage("--only and --set are for recipes, so they need -f")
	}
	return cobra.MinimumNArgs(2)(cmd, args)
}

// runRecipe packs what a recipe says.
func (b *buildFlags) runRecipe(cmd *cobra.Command, env *cli.Env, args []string) error {
	if err := b.refuseFlags(cmd); err != nil {
		return err
	}
	set, err := pairs("set", b.recipe.set)
	if err != nil {
		return err
	}
	recipe, err := pack.OpenRecipe(b.recipe.file, set)
	if err != nil {
		return err
	}
	name, dst, err := recipeDestination(recipe, args)
	if err != nil {
		return err
	}
	var only []spec.Platform
	for _, s := range b.recipe.only {
		p, err := spec.ParsePlatform(s)
		if err != nil {
			return cli.Usage("--only: %w", err)
		}
		only = append(only, p)
	}
	b.index = true
	if err := b.parseIndex(name, dst); err != nil {
		return err
	}
	return b.pack(cmd.Context(), env, dst, func() ([]*pack.Plan, error) { return recipe.Scan(cmd.Context(), b.options, only) })
}

// refuseFlags refuses what the recipe has to say.
func (b *buildFlags) refuseFlags(cmd *cobra.Command) error {
	var wrong []string
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && !slices.Contains(withRecipe(), f.Name) {
			wrong = append(wrong, "--"+f.Name)
		}
	})
	if len(wrong) > 0 {
		return cli.WithHint(cli.Usage("%s and a recipe", strings.Join(wrong, ", ")), "say it in the recipe")
	}
	return nil
}

// recipeDestination gives where the index goes: what the user says now, or the
// recipe.
func recipeDestination(recipe *pack.Recipe, args []string) (string, transport.Reference, error) {
	var name string
	if len(args) > 0 {
		name = args[0]
	} else {
		var ok bool
		var err error
		if name, ok, err = recipe.Destination(); err != nil {
			return "", transport.Reference{}, err
		} else if !ok {
			return "", transport.Reference{}, cli.Usage("neither the recipe nor the command line has an IMAGE")
		}
	}
	dst, err := transport.ParseReference(name)
	return name, dst, err
}

// recipeOutput is the JSON of "nbpack build -f".
type recipeOutput struct {
	Reference   string        `json:"reference"` // of the index
	IndexDigest digest.Digest `json:"index_digest"`
	Index       *indexOutput  `json:"index"`
	Platforms   []pack.Result `json:"platforms"`
}

// reportRecipe prints the digest of the index, or everything.
func (b *buildFlags) reportRecipe(env *cli.Env, results []pack.Result, into *indexOutput) error {
	var err error
	if b.json {
		err = env.JSON(recipeOutput{into.Reference, into.Digest, into, results})
	} else {
		_, err = fmt.Fprintln(env.Stdout, into.Digest)
	}
	if err != nil {
		return fmt.Errorf("everything is published, the index with the digest %s, but: %w", into.Digest, err)
	}
	return b.writeDigests(into.Digest.String() + "\n")
}

// printPlans prints what would be packed, platform by platform.
func printPlans(env *cli.Env, plans []*pack.Plan, asJSON bool) error {
	if asJSON {
		return env.JSON(struct {
			Platforms []*pack.Plan `json:"platforms"`
		}{plans})
	}
	for _, p := range plans {
		if _, err := fmt.Fprintf(env.Stdout, "%s:\n", p.Platform); err != nil {
			return err
		}
		if err := printPlan(env, p, false); err != nil {
			return err
		}
	}
	return nil
}
