package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// Nginx runs nginx in one process and gives its address, HOST:PORT. servers are
// what stands in its http block; "listen 80;", or another port, becomes that address. Where
// it is not installed the test skips.
func Nginx(t testing.TB, servers string) (addr string) {
	t.Helper()
	addr, _ = StartNginx(t, servers)
	return addr
}

// listens is what a site says of its address.
var listens = regexp.MustCompile(`listen [0-9]+;`)

// CheckNginx has nginx read what goes into its http block, and gives what it says of
// it when it does not refuse it: warnings.
func CheckNginx(t testing.TB, servers string) string {
	t.Helper()
	testneed.Tool(t, "nginx")
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(nginxConfig(dir, servers)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-q", "-p", dir, "-e", "stderr", "-c", conf).CombinedOutput()
	if err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	return string(out)
}

// StartNginx is Nginx for a test that stops the server before its end.
func StartNginx(t testing.TB, servers string) (addr string, stop func()) {
	t.Helper()
	testneed.Tool(t, "nginx")
	dir := t.TempDir()
	addr, stop, err := run(dir, "nginx", "/", func(addr string) string {
		return nginxConfig(dir, listens.ReplaceAllString(servers, "listen "+addr+";"))
	}, func(conf string) []string { return []string{"-p", dir, "-e", "stderr", "-c", conf} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr, stop
}

func nginxConfig(dir, servers string) string {
	var b strings.Builder
	if os.Geteuid() == 0 {
		b.WriteString("user root;\n") // the directories of a test are its own
	}
	fmt.Fprintf(&b, "daemon off; master_process off; pid %s/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n", dir)
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&b, "%s_temp_path %s/%s;\n", what, dir, what)
	}
	fmt.Fprintf(&b, "%s\n}\n", servers)
	return b.String()
}
