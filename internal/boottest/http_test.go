package boottest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// guest is where machines find the web server: an address that stands for a program
// of the host, because grub 2.06 knows no port but 80.
const guest = "10.0.2.100"

// relayTo is the variable that turns the test program into the relay of one
// connection, to the address in it: qemu starts a program for each.
const relayTo = "NBPACK_BOOT_RELAY"

func TestMain(m *testing.M) {
	if addr := os.Getenv(relayTo); addr != "" {
		if err := relay(addr, os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// relay joins a connection to addr with in and out, until both directions ended.
func relay(addr string, in io.Reader, out io.Writer) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, in)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(out, conn)
	return err
}

// web is the option for a network where machines find the web server at addr
// at the address guest, also if they reach nothing else.
func web(t *testing.T, addr string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(relayTo, addr)
	return "guestfwd=tcp:" + guest + ":80-cmd:" + quote(self)
}

// gate is a web server before another one. It keeps the request whose path ends with
// holds until it may pass, so that a test can act in the middle of a boot.
type gate struct {
	addr  string
	asked chan struct{} // closed when the request came
	pass  chan struct{} // to be closed by the test

	mu   sync.Mutex
	seen []string
}

func newGate(t *testing.T, to, holds string) *gate {
	t.Helper()
	g := &gate{asked: make(chan struct{}), pass: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	var once sync.Once
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.seen = append(g.seen, r.Method+" "+r.URL.Path)
		g.mu.Unlock()
		if strings.HasSuffix(r.URL.Path, holds) {
			once.Do(func() { close(g.asked) })
			select {
			case <-g.pass:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.addr = s.Listener.Addr().String()
	return g
}

// requests are what machines asked for.
func (g *gate) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.seen...)
}

// serve runs nbextract's server for a boot directory, and gives its address.
func (l *lab) serve(t *testing.T, dir string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	var out bytes.Buffer
	cmd := exec.Command(l.nbextract, "serve", "-d", dir, "--tftp", "", "--http", addr)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("nbextract serve: %s", out.String())
		}
	})
	answers(t, "http://"+addr+"/", ended)
	return addr
}
