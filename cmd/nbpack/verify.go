package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/pack"
)

// verifyFlags are the flags of "nbpack verify" as written.
type verifyFlags struct {
	registry    cli.RegistryFlags
	keys        []string
	annotations []string
	identity    trust.Identity
	root        string
	recursive   bool
	json        bool
	policy      trust.Policy
}

func verifyCommand(env *cli.Env) *cobra.Command {
	var v verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [flags] IMAGE",
		Short: "Verify the signatures of an image, an artifact or an index",
		Long: `Verify that what IMAGE names is signed, and print one line for each signer that
counts: the digest, the key and the form of the signature. It ends with exit code 3
if the signatures do not suffice.

Both forms of signatures are read: sigstore bundles, as nbpack and cosign 3 make
them, and those of older tools under tags sha256-HEX.sig. A signature counts if one
of the keys verifies it, if it is of this digest, has all of --annotation, and names
this repository or none.

A bundle made without a key counts with --certificate-identity: if a certificate
authority in the file of --trusted-root gave that identity the certificate, and a log
in it says that it was used while it was valid. Only bundles are read for that.

Nothing is fetched but the signatures. A key, or a trusted root, is trusted because
it was given.`,
		Example: `  nbpack verify --key nbpack.pub registry.example/netboot:debian-12
  nbpack verify --key release.pub --key quality.pub --threshold 2 \
      -a channel=stable registry.example/netboot:debian-12
  nbpack verify --trusted-root trusted_root.json \
      --certificate-identity https://ci.example/netboot/.workflow@main \
      --certificate-oidc-issuer https://ci.example registry.example/netboot:debian-12`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, env, args[0]) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVar(&v.keys, "key", nil, "`FILE` with a public key (may be repeated)")
	fs.StringVar(&v.identity.Subject, "certificate-identity", "", "`NAME` that a certificate is for: an email address or a URI")
	fs.StringVar(&v.identity.Issuer, "certificate-oidc-issuer", "", "`URL` of who vouched for that name")
	fs.StringVar(&v.root, "trusted-root", "", "`FILE` with the authorities and logs of sigstore, as in trusted_root.json")
	fs.IntVar(&v.policy.Threshold, "threshold", 1, "`N` different signers there must be")
	fs.StringArrayVarP(&v.annotations, "annotation", "a", nil, "`KEY=VALUE` that must be signed, too (may be repeated)")
	fs.StringArrayVar(&v.policy.SignedAs, "signed-as", nil, "`HOST/NAME` of a repository that signatures may name instead of that of IMAGE; * permits all (may be repeated)")
	fs.BoolVar(&v.recursive, "recursive", false, "all that an index names must have signatures of its own, too")
	fs.BoolVar(&v.json, "json", false, "print the result as one JSON object")
	v.registry.Bind(fs)
	return cmd
}

// parse turns what was written into a policy.
func (v *verifyFlags) parse() error {
	for _, file := range v.keys {
		key, err := trust.ReadPublicKey(file)
		if err != nil {
			return err
		}
		v.policy.Keys = append(v.policy.Keys, key)
	}
	if err := v.parseIdentity(); err != nil {
		return err
	}
	if v.policy.Threshold < 1 {
		return cli.Usage("--threshold: want 1 or more, got %d", v.policy.Threshold)
	}
	var err error
	if v.policy.Annotations, err = pairs("annotation", v.annotations); err != nil {
		return err
	}
	return v.policy.Check()
}

// parseIdentity reads the three flags that need each other.
func (v *verifyFlags) parseIdentity() error {
	given := 0
	for _, s := range []string{v.identity.Subject, v.identity.Issuer, v.root} {
		if s != "" {
			given++
		}
	}
	switch given {
	case 0:
		return nil
	case 3:
	default:
		return cli.Usage("--certificate-identity, --certificate-oidc-issuer and --trusted-root need each other")
	}
	var err error
	v.policy.Identities = []trust.Identity{v.identity}
	v.policy.Root, err = trust.ReadRoot(v.root)
	return err
}

func (v *verifyFlags) run(cmd *cobra.Command, env *cli.Env, image string) error {
	if len(v.keys) == 0 && v.identity.Subject == "" {
		return cli.Usage("--key or --certificate-identity is required")
	}
	if err := v.parse(); err != nil {
		return err
	}
	return withSource(cmd, env, &v.registry, image, func(ref transport.Reference, src transport.Source) error {
		all, err := pack.Verify(cmd.Context(), src, ref, &v.policy, v.recursive)
		if err != nil {
			return err
		}
		env.StopProgress()
		if v.json {
			return env.JSON(struct {
				Reference string            `json:"reference"`
				Digest    string            `json:"digest"`
				Verified  []*trust.Evidence `json:"verified"`
			}{ref.String(), all[len(all)-1].Digest.String(), all})
		}
		_, err = fmt.Fprint(env.Stdout, evidenceLines(all))
		return err
	})
}

// evidenceLines shows evidence to people, one line for each signer.
func evidenceLines(all []*trust.Evidence) string {
	var out strings.Builder
	for _, e := range all {
		for _, s := range e.Signers {
			who := "key " + s.Key
			if s.Key == "" {
				who = fmt.Sprintf("identity %q of %q", s.Identity, s.Issuer)
			}
			out.WriteString(cli.OneLine(fmt.Sprintf("%s  %s  %s", e.Digest, who, s.Form)) + "\n")
		}
	}
	return out.String()
}
