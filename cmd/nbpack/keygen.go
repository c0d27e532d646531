package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/trust"
)

func keygenCommand(env *cli.Env) *cobra.Command {
	var prefix string
	var pass passphraseFlags
	cmd := &cobra.Command{
		Use:   "keygen [flags]",
		Short: "Make a key pair for signing",
		Long: `Make an ECDSA key on the curve P-256 and write it to two files: PREFIX.key, the
private key, encrypted and readable only for its owner, and PREFIX.pub, the public
key for those who verify. cosign reads both, and nbpack reads cosign's.

Files that exist are never overwritten.

` + passphraseHelp,
		Example: `  nbpack keygen
  nbpack keygen --output-key-prefix fedora --passphrase-file secret`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if prefix == "" {
				return cli.Usage("--output-key-prefix is empty")
			}
			return generate(env, prefix, pass.twice(cmd.Context(), env))
		},
	}
	cmd.Flags().StringVar(&prefix, "output-key-prefix", "nbpack", "`PREFIX` of the two files, which may have directories in it")
	pass.bind(cmd)
	return cmd
}

func generate(env *cli.Env, prefix string, passphrase func() ([]byte, error)) error {
	private, public := prefix+".key", prefix+".pub"
	for _, name := range []string{private, public} {
		if _, err := os.Lstat(name); err == nil {
			return cli.WithHint(fmt.Errorf("%q exists", name), "another --output-key-prefix keeps the old key; without it nobody can sign as before")
		}
	}
	secret, err := passphrase()
	if err != nil {
		return err
	}
	key, err := trust.GenerateKey()
	if err != nil {
		return err
	}
	text, err := key.Encrypt(secret)
	if err != nil {
		return err
	}
	if err := writeNew(private, text, 0o600); err != nil {
		return err
	}
	if err := writeNew(public, key.Public().PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(private))
	}
	env.Info("private key in %q, public key in %q", private, public)
	_, err = fmt.Fprintln(env.Stdout, key.Public().ID())
	return err
}

// writeNew writes a file that must not exist.
func writeNew(name string, text []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write key: %w", err), os.Remove(name))
	}
	return nil
}
