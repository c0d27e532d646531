package extract

import (
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
)

// SpokePlainHTTP returns a function that tells whether a registry, given as
// "host[:port]", spoke plain HTTP when a tree of the boot directory dir was
// last pulled from it. Where plain HTTP is allowed it saves the question over
// TLS on every run. dir may be empty or missing.
func SpokePlainHTTP(dir string) func(host string) bool {
	hosts := map[string]bool{}
	if dir != "" {
		recordHTTPHosts(dir, hosts)
	}
	return func(host string) bool { return hosts[host] }
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
