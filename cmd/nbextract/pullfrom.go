package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
)

// openFrom opens the bundle of --from, which is to have the images that refs name;
// nil without the flag.
func openFrom(cmd *cobra.Command, name string, refs []transport.Reference) (*transport.Bundle, error) {
	if name == "" {
		return nil, nil
	}
	if cmd.Flag("signature-policy").Changed {
		return nil, cli.WithHint(cli.Usage("--signature-policy looks for signatures at registries, and --from asks none"),
			"demand signatures by --key or --certificate-identity: these are found in the bundle")
	}
	for _, flag := range []string{"mirror", "mirror-order", "allow-url-host", "allow-private-hosts"} {
		if cmd.Flag(flag).Changed {
			return nil, cli.Usage("--%s says how a network is used, and --from uses none", flag)
		}
	}
	for _, ref := range refs {
		if ref.Transport != transport.Docker {
			return nil, cli.WithHint(cli.Usage("--from has images by their names in registries, and %q is none", ref),
				"name HOST/REPOSITORY:TAG; an image of a plain layout is pulled without --from")
		}
	}
	ref, err := transport.ParseBundle(name)
	if err != nil {
		return nil, cli.Usage("--from: %w", err)
	}
	return transport.OpenBundle(ref)
}

// lacking adds what to do where a bundle lacks content of an image that it names.
func lacking(from *transport.Bundle, err error) error {
	var absent *transport.NotFoundError
	if from == nil || !errors.As(err, &absent) || !strings.HasPrefix(absent.What, "blob ") {
		return err
	}
	return cli.WithHint(err, "the bundle may be for other platforms, or be a delta, which is first added to the bundle that it was made for; nbpack bundle verify tells")
}
