package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// The values of --mirror-order.
const (
	mirrorsListed  = "listed"
	mirrorsNearest = "nearest"
)

// failoverFlags say where blobs may come from besides the registry.
type failoverFlags struct {
	mirrors  []string
	order    string
	ordered  bool // by the user
	urlHosts []string
	private  bool
}

func (m *failoverFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&m.mirrors, "mirror", nil, "fetch blobs from the mirror at `URL` where it has them; may be repeated. Tags and manifests stay the registry's")
	f.StringVar(&m.order, "mirror-order", mirrorsListed, "`listed|nearest`: which mirror is asked first, as they are named or by the time to its answer")
	f.StringSliceVar(&m.urlHosts, "allow-url-host", nil, "read layers that the registry lacks from the URLs that the image names, on `HOST[:PORT]` only; may be repeated")
	f.BoolVar(&m.private, "allow-private-hosts", false, "let such URLs, and redirects of mirrors, lead to private addresses")
	cli.Values(cmd, "mirror-order", mirrorsListed, mirrorsNearest)
}

// check refuses what cannot be meant.
func (m *failoverFlags) check(cmd *cobra.Command) error {
	m.ordered = cmd.Flags().Changed("mirror-order")
	if !slices.Contains([]string{mirrorsListed, mirrorsNearest}, m.order) {
		return cli.Usage("--mirror-order is %s or %s, not %q", mirrorsListed, mirrorsNearest, m.order)
	}
	for _, s := range m.mirrors {
		if _, err := blobmirror.Parse(s); err != nil {
			return cli.Usage("--mirror: %w", err)
		}
	}
	return nil
}

// apply puts them into the options of a client. health is what earlier runs
// remember.
func (m *failoverFlags) apply(o *transport.Options, health *blobmirror.Health) {
	o.BlobMirrors, o.NearestMirror = m.mirrors, m.order == mirrorsNearest
	o.URLHosts, o.AllowPrivateHosts = m.urlHosts, m.private
	o.MirrorHealth = health
}
