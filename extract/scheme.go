package extract

import (
	"sync"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
)

// SpokePlainHTTP returns a function that tells whether a registry, given as
// "host[:port]", spoke plain HTTP when a tree of one of the boot directories dirs was
// last pulled from it. Where plain HTTP is allowed it saves the question over
// TLS on every run; elsewhere nobody asks, and nothing is read. A directory may be
// missing, its name empty.
func SpokePlainHTTP(dirs ...string) func(host string) bool {
	hosts := sync.OnceValue(func() map[string]bool {
		hosts := map[string]bool{}
		for _, dir := range dirs {
			if dir != "" {
				recordHTTPHosts(dir, hosts)
			}
		}
		return hosts
	})
	return func(host string) bool { return hosts()[host] }
}

// recordHTTPHosts reads the records; what cannot be read is no reason to fail
// here, the run that follows will say so.
func recordHTTPHosts(dir string, hosts map[string]bool) {
	d, err := bootdir.View(dir)
	if err != nil {
		return
	}
	defer d.Close()
	trees, err := d.Trees()
	if err != nil {
		return
	}
	for _, t := range trees {
		ref, err := transport.ParseReference(t.Reference)
		if err == nil && t.Scheme == "http" {
			hosts[ref.Host()] = true
		}
	}
}
