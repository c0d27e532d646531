package transport

import (
	"os"
	"path/filepath"

	"go.podman.io/image/v5/types"
)

// SystemContext says to those parts of containers/image that speak to registries
// themselves (policy.json) how this Client reaches the one of ref: credentials, TLS,
// configuration. Credentials that were given for it are given to nobody else:
// where there are such, mirrors are left out, because the library would send them
// there.
func (c *Client) SystemContext(ref Reference) (*types.SystemContext, error) {
	s := &session{c: c, ref: ref}
	if _, err := s.primary(); err != nil {
		return nil, err // blocked
	}
	sys := *c.sys
	sys.DockerCertPath = c.o.CertDir
	sys.DockerRegistryUserAgent = c.o.UserAgent
	if verify := c.o.TLSVerify; verify != nil {
		sys.DockerInsecureSkipTLSVerify = types.NewOptionalBool(!*verify)
	}
	if given := c.o.given(); given.Username != "" {
		sys.DockerAuthConfig = &types.DockerAuthConfig{Username: given.Username, Password: given.Password}
		sys.SystemRegistriesConfPath = os.DevNull
		sys.SystemRegistriesConfDirPath = filepath.Join(os.DevNull, "none")
	}
	return &sys, nil
}
