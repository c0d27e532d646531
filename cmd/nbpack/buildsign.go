package main

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/pack"
)

// buildSign is what "nbpack build" knows of signing.
type buildSign struct {
	file string
	pass passphraseFlags
	key  *trust.PrivateKey // nil: nothing is signed
}

func (s *buildSign) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.file, "sign-key", "", "sign what is built with the private key in `FILE`, and with --index the index, as nbpack sign does")
	cli.SecretFile(cmd.Flags(), "sign-key")
	s.pass.bind(cmd)
}

// open reads the key before anything is packed, so that nothing is packed in
// vain.
func (s *buildSign) open(ctx context.Context, env *cli.Env, dst transport.Reference) error {
	if s.file == "" {
		return nil
	}
	if dst.Transport != transport.Docker && dst.Transport != transport.OCI {
		return cli.WithHint(cli.Usage("--sign-key: there is no place for signatures in %q", dst), "write to a registry or to a layout (oci:DIR:NAME)")
	}
	var err error
	s.key, err = trust.ReadPrivateKey(s.file, s.pass.once(ctx, env))
	return err
}

// sign signs what was built, what was attached to it, and the index that it is in. What others have put into
// that index is covered by its signature, but does not get one of its own.
func (s *buildSign) sign(ctx context.Context, client *transport.Client, dst transport.Reference, results []pack.Result, attached []digest.Digest, into *indexOutput) error {
	if s.key == nil {
		return nil
	}
	var digests []digest.Digest
	for _, r := range results {
		digests = append(digests, r.Digest)
	}
	digests = append(digests, attached...)
	if into != nil {
		digests = append(digests, into.Digest)
	}
	for _, d := range digests {
		ref := transport.Reference{Transport: dst.Transport, Name: dst.Name, Digest: d}
		if _, err := pack.Sign(ctx, client, ref, s.key, pack.SignOptions{Alone: true, Created: time.Now()}); err != nil {
			return fmt.Errorf("%s is published, but not signed: %w", d, err)
		}
	}
	return nil
}
