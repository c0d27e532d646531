package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/pack"
)

// signFlags are the flags of "nbpack sign" as written.
type signFlags struct {
	registry    cli.RegistryFlags
	key         string
	pass        passphraseFlags
	annotations []string
	recursive   bool
	json        bool
	options     pack.SignOptions
}

func signCommand(env *cli.Env) *cobra.Command {
	var s signFlags
	cmd := &cobra.Command{
		Use:   "sign [flags] IMAGE",
		Short: "Sign an image, an artifact or an index",
		Long: `Sign what IMAGE names, and all that an index names: whoever takes one entry of it,
by its digest or through a tool that only knows images, can verify that, too.
Standard output is the digest of what IMAGE names.

A signature is a sigstore bundle, as cosign 3 makes it, and refers to what is
signed. A registry that has no list of referrers gets the index under the tag
sha256-HEX that stands for it. --legacy-attachments also writes the older form
under tags sha256-HEX.sig, which podman, skopeo and older cosigns verify.

A signature names the repository that the image is in. What has a signature of
the same key and the same words already does not get another one.

Nothing is sent to a transparency log, and no identity provider is asked.

` + passphraseHelp,
		Example: `  nbpack sign --key nbpack.key registry.example/netboot:debian-12
  nbpack sign --key nbpack.key -a channel=stable --legacy-attachments \
      registry.example/netboot:debian-12`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd.Context(), env, args[0]) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&s.key, "key", "", "`FILE` with the private key (required)")
	cli.SecretFile(fs, "key")
	s.pass.bind(cmd)
	fs.StringArrayVarP(&s.annotations, "annotation", "a", nil, "`KEY=VALUE` that is signed, too (may be repeated)")
	fs.BoolVar(&s.recursive, "recursive", true, "sign also what an index names")
	fs.BoolVar(&s.options.Legacy, "legacy-attachments", false, "write signatures of the older form, too")
	fs.BoolVar(&s.json, "json", false, "print the result as one JSON object")
	s.registry.Bind(fs)
	return cmd
}

func (s *signFlags) run(ctx context.Context, env *cli.Env, image string) error {
	if s.key == "" {
		return cli.WithHint(cli.Usage("--key is required"), "nbpack keygen makes a key")
	}
	var err error
	if s.options.Annotations, err = pairs("annotation", s.annotations); err != nil {
		return err
	}
	s.options.Alone = !s.recursive
	s.options.Created = time.Now()
	ref, err := transport.ParseReference(image)
	if err != nil {
		return err
	}
	key, err := trust.ReadPrivateKey(s.key, s.pass.once(ctx, env))
	if err != nil {
		return err
	}
	client, err := newClient(env, &s.registry, ref)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := pack.Sign(ctx, client, ref, key, s.options)
	if err != nil {
		return err
	}
	env.StopProgress()
	top := done[len(done)-1]
	if s.json {
		return env.JSON(struct {
			Reference string        `json:"reference"`
			Digest    string        `json:"digest"`
			Key       string        `json:"key"`
			Signed    []pack.Signed `json:"signed"`
		}{ref.String(), top.Digest.String(), top.Key, done})
	}
	_, err = fmt.Fprintln(env.Stdout, top.Digest)
	return err
}
