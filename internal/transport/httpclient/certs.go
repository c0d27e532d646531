package httpclient

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// certDir finds the directory with the certificates for a host, in the places
// where podman and docker have them (containers-certs.d(5)). The first that
// exists counts.
func (c *Client) certDir(hostPort string) (string, error) {
	if c.o.CertDir != "" {
		return c.o.CertDir, nil
	}
	var bases []string
	if conf, err := os.UserConfigDir(); err == nil {
		bases = append(bases, filepath.Join(conf, "containers/certs.d"))
	}
	bases = append(bases, "/etc/containers/certs.d", "/etc/docker/certs.d")
	for _, base := range bases {
		dir := filepath.Join(base, hostPort)
		_, err := os.Stat(dir)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
			return "", err
		}
	}
	return "", nil
}
