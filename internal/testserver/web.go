package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// Apache runs Apache in one process and gives its address, HOST:PORT. vhost is a
// virtual host; its "*:80" becomes that address. Where it is not installed the
// test skips.
func Apache(t testing.TB, vhost string) (addr string) {
	t.Helper()
	bin, dir := testneed.Tool(t, "apache2"), t.TempDir()
	modules := filepath.Join(filepath.Dir(bin), "../lib/apache2/modules")
	addr, stop, err := run(dir, "apache2", "/v2/", func(addr string) string {
		return apacheConfig(dir, modules, addr, strings.Replace(vhost, "*:80", addr, 1))
	}, func(conf string) []string { return []string{"-X", "-f", conf} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

func apacheConfig(dir, modules, addr, vhost string) string {
	var b strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "env", "headers", "mime", "rewrite"} {
		fmt.Fprintf(&b, "LoadModule %s_module %q\n", m, filepath.Join(modules, "mod_"+m+".so"))
	}
	fmt.Fprintf(&b, "ServerName localhost\nListen %s\nTypesConfig /dev/null\nPidFile %q\nDefaultRuntimeDir %q\nErrorLog %q\n%s",
		addr, filepath.Join(dir, "pid"), dir, filepath.Join(dir, "errors"), vhost)
	return b.String()
}

// Caddy runs Caddy and gives its address, HOST:PORT. The site ":80" of the
// Caddyfile gets that address. Where it is not installed the test skips.
func Caddy(t testing.TB, caddyfile string) (addr string) {
	t.Helper()
	testneed.Tool(t, "caddy")
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	addr, stop, err := run(dir, "caddy", "/", func(addr string) string {
		return "{\n\tadmin off\n\tauto_https off\n}\n" + strings.Replace("\n"+caddyfile, "\n:80 {", "\nhttp://"+addr+" {", 1)
	}, func(conf string) []string { return []string{"run", "--adapter", "caddyfile", "--config", conf} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// Readable lets the users of web servers into a directory of a test, down from the
// first one that is the test's own.
func Readable(t testing.TB, dir string) {
	t.Helper()
	for p := dir; p != "/" && p != filepath.Clean(os.TempDir()); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
