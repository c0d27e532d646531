package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/drain"
	"github.com/nbpack/nbpack/internal/front"
	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// mirrorNet is a mirror of one image, three copies of it on nginx, and a front.
type mirrorNet struct {
	t      *testing.T
	tree   string // what was packed
	dir    string // the mirror
	copies []string
	addrs  []string
	stops  []func()
}

func newMirrorNet(t *testing.T) *mirrorNet {
	nbpack, f := nbpackPath(t), newFaulty(t)
	n := &mirrorNet{t: t, tree: t.TempDir(), dir: filepath.Join(t.TempDir(), "mirror")}
	save(t, n.tree, "install.img", incompressible(1, 6<<20))
	save(t, n.tree, "vmlinuz", incompressible(2, 300<<10))
	save(t, n.tree, "shimx64.efi", incompressible(3, 100<<10))
	build(t, nbpack, n.tree, f.ref())
	if r := runHere(t, "mirror", "--tls-verify=false", f.ref(), n.dir); r.code != 0 {
		t.Fatalf("mirror: exit code %d\n%s", r.code, r.stderr)
	}
	for i := range 3 {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(filepath.Join(n.dir, "blobs"))); err != nil {
			t.Fatal(err)
		}
		conf := fmt.Sprintf("server { listen 80; root %q; }", dir)
		if i == 0 { // one is a registry
			conf = runHere(t, "mirror", "--print-config", "nginx", dir).stdout
		}
		addr, stop := testserver.StartNginx(t, conf)
		n.copies, n.addrs, n.stops = append(n.copies, dir), append(n.addrs, addr), append(n.stops, stop)
	}
	return n
}

// url is how the file of a front names a copy.
func (n *mirrorNet) url(i int) string {
	if i == 0 {
		return "http://" + n.addrs[i]
	}
	return "http://" + n.addrs[i] + "/blobs"
}

// damage changes every blob of a copy, and changes it back when it is called again.
func (n *mirrorNet) damage(i int) {
	n.t.Helper()
	blobs := filepath.Join(n.copies[i], "blobs/sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(blobs, e.Name())
		b, err := os.ReadFile(name)
		if err == nil && len(b) > 0 {
			b[len(b)/2] ^= 1
			err = os.WriteFile(name, b, 0o644)
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
}

// runFront is a front in this process.
type runFront struct {
	t      *testing.T
	addr   string
	admin  string
	events chan string
}

// serve runs a front over the copies; crawl is how it looks after them. For this
// machine the nearest is m1, then m0, then m2.
func (n *mirrorNet) serve(crawl string) *runFront {
	t := n.t
	t.Helper()
	text := "listen: 127.0.0.1:0\nmetrics: 127.0.0.1:0\ncrawl: " + crawl + "\nmirrors:\n"
	for i := range n.copies {
		text += fmt.Sprintf("- {name: m%d, url: %q, networks: %s}\n", i, n.url(i), []string{"127.0.0.0/24", "127.0.0.1", "127.0.0.0/8"}[i])
	}
	c, err := front.ParseConfig("front.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := &runFront{t: t, events: make(chan string, 1000)}
	say := func(format string, a ...any) { f.events <- fmt.Sprintf(format, a...) }
	server, err := front.New(front.Options{Dir: n.dir, Config: c, Drain: drain.Default, Agent: "nbextract/test", Log: say, Warn: say})
	if err != nil {
		t.Fatal(err)
	}
	f.addr, f.admin = server.Addr().String(), server.AdminAddr().String()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Errorf("the front ended: %v", err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return f
}

// wait reads what a front says until it has said all of these.
func (f *runFront) wait(want ...string) {
	f.t.Helper()
	limit, cancel := context.WithTimeout(f.t.Context(), 3*time.Minute) // against waiting for ever
	defer cancel()
	for len(want) > 0 {
		var line string
		select {
		case line = <-f.events:
		case <-limit.Done():
			f.t.Fatalf("the front never said %q", want)
		}
		f.t.Log(line)
		var left []string
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(line) {
				left = append(left, w)
			}
		}
		want = left
	}
}

// metric adds up the lines of a metric.
func (f *runFront) metric(name string) (sum float64) {
	f.t.Helper()
	resp, err := http.Get("http://" + f.admin + "/metrics")
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, name) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			if err != nil {
				f.t.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

// frontClients are programs that pull the image.
func frontClients(t *testing.T, n *mirrorNet) map[string]func(t *testing.T, addr string) error {
	clients := map[string]func(t *testing.T, addr string) error{
		"nbextract": func(t *testing.T, addr string) error {
			boot := t.TempDir()
			if r := runHere(t, "pull", "--tls-verify=false", "docker://"+addr+"/netboot:v", "-d", boot); r.code != 0 {
				return fmt.Errorf("exit code %d: %s", r.code, r.stderr)
			}
			sameTree(t, n.tree, filepath.Join(boot, "d/1/amd64"))
			return nil
		},
	}
	add := func(name string, args func(t *testing.T, addr string) []string) {
		bin := testneed.Extra(t, name)
		if bin == "" {
			return
		}
		clients[name] = func(t *testing.T, addr string) error { return tryTool(t, bin, args(t, addr)...) }
	}
	add("skopeo", func(t *testing.T, addr string) []string {
		return []string{"copy", "-q", "--insecure-policy", "--src-tls-verify=false", "docker://" + addr + "/netboot:v", "dir:" + filepath.Join(t.TempDir(), "d")}
	})
	add("crane", func(t *testing.T, addr string) []string {
		return []string{"pull", "--insecure", "--format=oci", addr + "/netboot:v", filepath.Join(t.TempDir(), "layout")}
	})
	if os.Geteuid() == 0 {
		add("podman", func(t *testing.T, addr string) []string {
			policy := filepath.Join(t.TempDir(), "policy.json") // it has no default of its own
			save(t, filepath.Dir(policy), "policy.json", []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`))
			return []string{"--root", filepath.Join(t.TempDir(), "root"), "--runroot", testserver.ShortDir(t), "--storage-driver=vfs",
				"pull", "-q", "--tls-verify=false", "--platform=linux/amd64", "--signature-policy=" + policy, addr + "/netboot:v"}
		})
	}
	return clients
}

// TestMirrorServe: clients that know nothing of mirrors get their blobs from some.
func TestMirrorServe(t *testing.T) {
	n := newMirrorNet(t)
	clients := frontClients(t, n)
	var f *runFront
	begin := func() {
		f = n.serve("{every: 1h, probe: 1h, samples: 100}")
		f.wait(`"m0" is up`, `"m1" is up`, `"m2" is up`)
	}
	begin()
	each := func(what string, tries int) {
		for name, pull := range clients {
			t.Run(what+", "+name, func(t *testing.T) {
				for try := 1; ; try++ {
					err := pull(t, f.addr)
					if err == nil {
						t.Logf("after %d tries", try)
						return
					}
					if try == tries {
						t.Fatalf("after %d tries: %v", try, err)
					}
				}
			})
		}
	}
	each("all well", 1)
	if sent, given := f.metric("nbextract_front_redirects_total"), f.metric("nbextract_front_direct_bytes_total"); sent == 0 || given > 0 && len(clients) == 1 {
		t.Errorf("%v redirects, %v bytes given", sent, given)
	}
	// One is gone, one lies, and the front, which begins anew, does not know. Who comes back is sent on,
	// in the end to the front itself: so four tries for each of the blobs will do.
	begin()
	n.stops[0]()
	n.damage(1)
	each("one killed, one damaged", 12)
	f.wait(`"m1" is wrong`)
	if code, _, errs := nbextract(t, "pull", "--tls-verify=false", "--mirror", n.url(0), "--mirror", n.url(1), "--mirror", n.url(2), "docker://"+f.addr+"/netboot:v", "-d", t.TempDir()); code != 0 || !strings.Contains(errs, n.url(1)) {
		t.Errorf("with a list of its own: exit %d\n%s", code, errs)
	}
}

// TestMirrorServeCrawls: mirrors are dropped and taken back while clients pull.
func TestMirrorServeCrawls(t *testing.T) {
	n := newMirrorNet(t)
	clients := frontClients(t, n)
	f := n.serve("{every: 100ms, probe: 50ms, samples: 100}")
	f.wait(`"m0" is up`, `"m1" is up`, `"m2" is up`)
	each := func(what string) {
		for name, pull := range clients {
			if err := pull(t, f.addr); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	n.stops[0]()
	f.wait(`"m0" is down`)
	each("one is dead")
	n.damage(1)
	f.wait(`"m1" is wrong`)
	each("one is dead and one wrong")
	n.damage(2)
	f.wait(`"m2" is wrong`)
	each("none is well")
	if f.metric(`nbextract_front_direct_total{reason="no_mirror"}`) == 0 {
		t.Error("nothing came from the front itself")
	}
	n.damage(1)
	f.wait(`"m1" is up`)
	before := f.metric(`nbextract_front_redirects_total{mirror="m1"}`)
	each("one is well again")
	if f.metric(`nbextract_front_redirects_total{mirror="m1"}`) == before {
		t.Error("nobody was sent to the mirror that is well again")
	}
}

// tryTool runs a program that may fail.
func tryTool(t *testing.T, bin string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
