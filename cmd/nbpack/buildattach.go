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
)

// buildAttach is what "nbpack build" knows of provenance and lists of files.
type buildAttach struct{ options pack.AttachOptions }

func (a *buildAttach) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&a.options.Provenance, "provenance", false, "attach a statement that says what was built from what; see nbpack rebuild")
	fs.BoolVar(&a.options.SBOM, "sbom", false, "attach a list of the files, and of the packages that they came from, as SPDX")
}

func (a *buildAttach) wanted() bool { return a.options.Provenance || a.options.SBOM }

// check tells before anything is packed that there is no place for it.
func (a *buildAttach) check(dst transport.Reference) error {
	if !a.wanted() {
		return nil
	}
	return pack.CheckAttach(dst)
}

// attach attaches what is wanted, and gives the digests of all that is to be
// signed for it.
func (a *buildAttach) attach(ctx context.Context, client *transport.Client, plans []*pack.Plan, dst transport.Reference, results []pack.Result) ([]digest.Digest, error) {
	if !a.wanted() {
		return nil, nil
	}
	a.options.Tool = cli.Version()
	done, err := pack.Attach(ctx, client, plans, dst, results, a.options)
	if err != nil {
		var published []string
		for _, r := range results {
			published = append(published, r.Digest.String())
		}
		return nil, fmt.Errorf("%s is published, but: %w", strings.Join(published, " "), err)
	}
	var digests []digest.Digest
	for _, d := range done {
		digests = append(digests, d.Digest)
	}
	return digests, nil
}
