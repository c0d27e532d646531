package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
)

// trustFlags are the flags that say whose files may be laid out.
type trustFlags struct {
	keys        []string
	threshold   int
	annotations []string
	signedAs    []string
	scope       string
	identity    trust.Identity
	root        string
	policy      string
}

func (t *trustFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&t.keys, "key", nil, "accept only what the public key in `FILE` has signed (may be repeated: any of them)")
	fs.IntVar(&t.threshold, "threshold", 1, "`N` different signers there must be")
	fs.StringArrayVarP(&t.annotations, "annotation", "a", nil, "`KEY=VALUE` that must be signed, too (may be repeated)")
	fs.StringArrayVar(&t.signedAs, "signed-as", nil, "`HOST/NAME` of a repository that signatures may name instead of that of the image; * permits all (may be repeated)")
	fs.StringVar(&t.scope, "signature-scope", "top", "`top|entry|either`: what must be signed: what the reference names (an index covers its entries), the entry that is used, or one of them")
	fs.StringVar(&t.identity.Subject, "certificate-identity", "", "accept what was signed with a certificate for `NAME`, an email address or a URI")
	fs.StringVar(&t.identity.Issuer, "certificate-oidc-issuer", "", "`URL` of who vouched for that name")
	fs.StringVar(&t.root, "trusted-root", "", "`FILE` with the authorities and logs of sigstore, as in trusted_root.json")
	fs.StringVar(&t.policy, "signature-policy", "", "accept what the policy.json `FILE` permits; system for that of this machine")
	cli.Values(cmd, "signature-scope", "top", "entry", "either")
}

// parse gives what the flags demand; nil for nothing. client is asked how to
// reach registries for policy.json; it may be nil where the caller sets that.
func (t *trustFlags) parse(cmd *cobra.Command, client *transport.Client) (*extract.Trust, error) {
	demands := &extract.Trust{}
	p, err := t.signatures(cmd)
	if err != nil {
		return nil, err
	}
	demands.Signatures = p
	if cmd.Flag("signature-policy").Changed {
		if demands.Containers, err = trust.OpenContainersPolicy(t.policy); err != nil {
			return nil, err
		}
		if client != nil {
			demands.System = client.SystemContext
		}
	}
	if demands.Signatures == nil && demands.Containers == nil {
		return nil, nil
	}
	return demands, nil
}

// signatures gives the policy of keys and identities; nil for none.
func (t *trustFlags) signatures(cmd *cobra.Command) (*trust.Policy, error) {
	p := &trust.Policy{Threshold: t.threshold, SignedAs: t.signedAs}
	for _, file := range t.keys {
		key, err := trust.ReadPublicKey(file)
		if err != nil {
			return nil, err
		}
		p.Keys = append(p.Keys, key)
	}
	given := 0
	for _, s := range []string{t.identity.Subject, t.identity.Issuer, t.root} {
		if s != "" {
			given++
		}
	}
	var err error
	switch given {
	case 0:
	case 3:
		p.Identities = []trust.Identity{t.identity}
		if p.Root, err = trust.ReadRoot(t.root); err != nil {
			return nil, err
		}
	default:
		return nil, cli.Usage("--certificate-identity, --certificate-oidc-issuer and --trusted-root need each other")
	}
	if len(p.Keys) == 0 && given == 0 {
		for _, name := range []string{"key", "threshold", "annotation", "signed-as", "signature-scope"} {
			if cmd.Flag(name).Changed {
				return nil, cli.Usage("--%s says nothing without --key or --certificate-identity", name)
			}
		}
		return nil, nil
	}
	if t.threshold < 1 {
		return nil, cli.Usage("--threshold: want 1 or more, got %d", t.threshold)
	}
	if p.Scope, err = trust.ParseScope(t.scope); err != nil {
		return nil, err
	}
	for _, s := range t.annotations {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, cli.Usage("--annotation: %q has no form KEY=VALUE", s)
		}
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations[k] = v
	}
	return p, p.Check()
}
