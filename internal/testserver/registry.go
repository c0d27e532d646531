package testserver

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// Registry runs docker-registry, the reference implementation of the distribution
// protocol, with an empty storage, and gives its address, HOST:PORT. The lines of
// config, YAML, follow those that every registry gets. Where it is not installed
// the test skips.
func Registry(t testing.TB, config string) (addr string) {
	t.Helper()
	testneed.Tool(t, "docker-registry")
	addr, stop, err := RunRegistry(t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// RunRegistry is Registry for who is no test: with its files below dir, until stop
// is called.
func RunRegistry(dir, config string) (addr string, stop func(), err error) {
	return run(dir, "docker-registry", "/v2/", func(addr string) string {
		return fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q}\n%s",
			filepath.Join(dir, "storage"), addr, config)
	}, func(conf string) []string { return []string{"serve", conf} })
}
