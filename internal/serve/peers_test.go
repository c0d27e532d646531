//go:build linux

package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// TestBesidePeers measures tftpd-hpa, dnsmasq and nginx and this server on the same
// file with the same client, in turns, and prints how much faster or slower it is.
// It judges nothing: `make bench-serve` runs it, and docs/performance.md has a run.
func TestBesidePeers(t *testing.T) {
	if os.Getenv("NBPACK_BENCH_SERVE") == "" {
		t.Skip("it measures and judges nothing; make bench-serve runs it")
	}
	if os.Getuid() != 0 {
		t.Skip("the other servers want port 69")
	}
	const size, rounds = 16 << 20, 5
	dir := t.TempDir()
	for p := dir; p != "/" && p != os.TempDir(); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil { // they serve as other users
			t.Fatal(err)
		}
	}
	install(t, dir, "a", bootdir.ModeDir, content{"initrd": random(1, size)})
	// In a process of its own, as the others are.
	t.Setenv("NBPACK_BENCH_SERVE_DIR", dir)
	ours := startPeer(t, os.Args[0], 1, "-test.run=^TestPeerOfPeers$")
	tftp := map[string]*net.UDPAddr{ourServer: ours}
	web := map[string]string{ourServer: "http://" + peerHTTP + "/a/initrd"}
	if addr := startPeer(t, "in.tftpd", 2, "--foreground", "--secure", "--address", "127.69.0.2:69", "--user", "nobody", dir); addr != nil {
		tftp["tftpd-hpa"] = addr
	}
	if addr := startPeer(t, "dnsmasq", 3, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--tftp-root="+dir,
		"--listen-address=127.69.0.3", "--bind-interfaces", "--pid-file=", "--user=nobody", "--tftp-max=100"); addr != nil {
		tftp["dnsmasq"] = addr
	}
	if url := startNginx(t, dir); url != "" {
		web["nginx"] = url
	}

	for _, clients := range []int{1, 8} {
		for name, options := range map[string][]string{
			"TFTP, blksize 1468":                nil,
			"TFTP, blksize 1468, windowsize 16": {"windowsize", "16"},
		} {
			compare(t, fmt.Sprintf("%s, %d clients", name, clients), rounds, tftp, func(addr *net.UDPAddr) error {
				return together(clients, func() error {
					c := &tftpClient{server: addr}
					c.options = [][2]string{{"blksize", "1468"}}
					if options != nil {
						c.options = append(c.options, [2]string{options[0], options[1]})
					}
					n := &counter{w: io.Discard}
					if err := c.get("a/initrd", n); err != nil || n.n != size {
						return fmt.Errorf("%d bytes: %w", n.n, err)
					}
					if options != nil && c.oack["windowsize"] == "" {
						return errNoWindow
					}
					return nil
				})
			}, int64(clients)*size)
		}
		compare(t, fmt.Sprintf("HTTP, %d clients", clients), rounds, web, func(url string) error {
			return together(clients, func() error {
				resp, err := http.Get(url)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size {
					return fmt.Errorf("%d bytes: %w", n, err)
				}
				return nil
			})
		}, int64(clients)*size)
	}
}

// TestCompare: a peer that fails is left out of that comparison only.
func TestCompare(t *testing.T) {
	servers := map[string]string{ourServer: "good", "peer": "bad"}
	rounds := 0
	compare(t, "a test", 2, servers, func(addr string) error {
		rounds++
		if addr == "bad" {
			return errNoWindow
		}
		return nil
	}, 1)
	if rounds != 3 || len(servers) != 2 {
		t.Errorf("%d rounds, %v", rounds, servers)
	}
}

// TestPeerOfPeers is the server that TestBesidePeers measures.
func TestPeerOfPeers(t *testing.T) {
	dir := os.Getenv("NBPACK_BENCH_SERVE_DIR")
	if dir == "" {
		t.Skip("it is run by TestBesidePeers")
	}
	s, err := New(Options{Dir: dir, TFTP: "127.69.0.1:69", HTTP: peerHTTP, Hold: DefaultHold, Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

const (
	ourServer = "nbextract serve"
	peerHTTP  = "127.69.0.1:8069"
)

var errNoWindow = fmt.Errorf("knows no windowsize")

// compare takes turns, so that what else the machine does meets all alike, and
// prints medians and what each is to ours.
func compare[A any](t *testing.T, what string, rounds int, servers map[string]A, get func(A) error, bytes int64) {
	rates := map[string][]float64{}
	for range rounds {
		for name, addr := range servers {
			begun := time.Now()
			if err := get(addr); err != nil {
				if name == ourServer {
					t.Errorf("%s: %v", what, err)
					return // nothing to compare with
				}
				t.Logf("%s, %s: %v", what, name, err)
				delete(servers, name)
				defer func() { servers[name] = addr }()
				delete(rates, name)
				continue
			}
			rates[name] = append(rates[name], float64(bytes)/(1<<20)/time.Since(begun).Seconds())
		}
	}
	median := func(name string) float64 {
		r := slices.Sorted(slices.Values(rates[name]))
		return r[len(r)/2]
	}
	for name := range rates {
		t.Logf("%s: %s %.0f MiB/s; ours is %.2f of it", what, name, median(name), median("nbextract serve")/median(name))
	}
}

func together(n int, f func() error) error {
	var all sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		all.Go(func() { errs <- f() })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// startPeer runs a TFTP server at 127.69.0.last, port 69, until the test ends.
func startPeer(t *testing.T, name string, last byte, args ...string) *net.UDPAddr {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Logf("no %s", name)
		return nil
	}
	run(t, path, args...)
	addr := &net.UDPAddr{IP: net.IPv4(127, 69, 0, last), Port: 69}
	for range 50 { // until it answers; the client waits in between
		if err := (&tftpClient{server: addr, wait: 100 * time.Millisecond}).get("nothing", io.Discard); err != nil {
			if _, ok := err.(*tftpError); ok {
				return addr
			}
		}
	}
	t.Fatalf("%s does not answer", name)
	return nil
}

func startNginx(t *testing.T, dir string) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Log("no nginx")
		return ""
	}
	l, err := net.Listen("tcp", "127.69.0.4:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	home := t.TempDir()
	conf := filepath.Join(home, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %s/pid; error_log stderr; user root; worker_processes 2;\nevents {}\nhttp { sendfile on; access_log off; server { listen %s; root %s; } }\n", home, addr, dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, path, "-p", home, "-c", conf)
	for range 1000 {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			return "http://" + addr.IP.String() + ":" + strconv.Itoa(addr.Port) + "/a/initrd"
		}
		time.Sleep(10 * time.Millisecond) // it shares the processors with what it waits for
	}
	t.Fatal("nginx does not answer")
	return ""
}

// run starts a program and ends it with the test.
func run(t *testing.T, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { defer close(done); _ = cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
}
