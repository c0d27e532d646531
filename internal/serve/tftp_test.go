//go:build linux

package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testneed"
)

// random gives bytes that are the same in each run.
func random(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return string(b)
}

// TestTFTPOptions: what is asked, what is granted, and that the bytes are right.
func TestTFTPOptions(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{0, 1, 511, 512, 513, 1468 * 4, 100_000, 65464, 300_000}
	for _, n := range sizes {
		write(t, dir, fmt.Sprintf("f%d", n), random(1, n))
	}
	s := start(t, Options{Dir: dir})
	for _, c := range []struct {
		ask  []string
		want string // granted, in order; SIZE is that of the file
	}{
		{nil, ""},
		{[]string{"tsize", "0"}, "tsize=SIZE"},
		{[]string{"blksize", "1468", "windowsize", "4", "tsize", "0"}, "blksize=1468 windowsize=4 tsize=SIZE"},
		{[]string{"BlkSize", "8192", "TSIZE", "0", "timeout", "3"}, "blksize=8192 tsize=SIZE timeout=3"},
		{[]string{"blksize", "70000", "windowsize", "1000"}, "blksize=65464 windowsize=64"},
		{[]string{"blksize", "4", "windowsize", "0", "timeout", "0"}, ""},
		{[]string{"blksize", "x", "timeout", "256", "windowsize", "-1"}, ""},
		{[]string{"unknown", "1", "blksize", "1024", "blksize", "2048"}, "blksize=1024"},
		{[]string{"windowsize", "7"}, "windowsize=7"},
	} {
		for _, n := range sizes {
			client := s.client("127.0.0.1", c.ask...)
			got, err := client.fetch(t, fmt.Sprintf("/f%d", n))
			if err != nil || got != random(1, n) {
				t.Fatalf("%q, %d bytes: got %d bytes, %v", c.ask, n, len(got), err)
			}
			var granted []string
			for _, o := range client.order {
				granted = append(granted, o+"="+client.oack[o])
			}
			if want := strings.ReplaceAll(c.want, "SIZE", strconv.Itoa(n)); strings.Join(granted, " ") != want {
				t.Errorf("%q: granted %q, want %q", c.ask, granted, want)
			}
		}
	}
}

// TestTFTPLoss: lost and doubled packets in both directions cost time, not bytes.
func TestTFTPLoss(t *testing.T) {
	dir := t.TempDir()
	body := random(2, 40_000)
	write(t, dir, "f", body)
	s := start(t, Options{Dir: dir})
	every := func(n int) func(int) bool { return func(i int) bool { return i%n == n/2 } }
	for _, window := range []string{"1", "4", "16"} {
		for name, c := range map[string]*tftpClient{
			"data":  {dropData: every(40)},
			"first": {dropData: func(n int) bool { return n == 0 }},
			"acks":  {dropAck: func(n int) bool { return n == 2 }},
			"oack":  {dropAck: func(n int) bool { return n == 0 }},
			"twice": {doubleAck: true},
		} {
			t.Run(name+window, func(t *testing.T) {
				t.Parallel()
				c.server, c.from = s.TFTPAddr().(*net.UDPAddr), "127.0.0.1"
				c.options = [][2]string{{"blksize", "1024"}, {"windowsize", window}}
				got, err := c.fetch(t, "f")
				if err != nil || got != body {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				if name == "twice" && window == "1" && c.packets > len(body)/1024+1 {
					t.Errorf("%d packets for %d blocks: each acknowledgement was answered", c.packets, len(body)/1024+1)
				}
			})
		}
	}
}

// TestTFTPOverrun: the end of each burst is too much for the client's socket.
func TestTFTPOverrun(t *testing.T) {
	dir := t.TempDir()
	body := random(2, 5*1024-1)
	write(t, dir, "f", body)
	c := start(t, Options{Dir: dir}).client("127.0.0.1", "blksize", "1024", "windowsize", "64")
	c.dropData = func(n int) bool { return n%5 >= 3 }
	if got, err := c.fetch(t, "f"); err != nil || got != body {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestTFTPRollover: block numbers go round after 65535.
func TestTFTPRollover(t *testing.T) {
	dir := t.TempDir()
	body := random(3, 70_000*8+3)
	write(t, dir, "f", body)
	s := start(t, Options{Dir: dir})
	got, err := s.client("127.0.0.1", "blksize", "8", "windowsize", "64").fetch(t, "f")
	if err != nil || got != body {
		t.Errorf("got %d of %d bytes, %v", len(got), len(body), err)
	}
}

// TestTFTPNetascii: lines as RFC 764 has them.
func TestTFTPNetascii(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "menu", "a\nb\r\nc\rd")
	write(t, dir, "big", strings.Repeat("x", maxText+1))
	s := start(t, Options{Dir: dir})
	c := s.client("127.0.0.1", "tsize", "0")
	c.mode = "NetASCII"
	got, err := c.fetch(t, "menu")
	if want := "a\r\nb\r\x00\r\nc\r\x00d"; err != nil || got != want || c.oack["tsize"] != strconv.Itoa(len(want)) {
		t.Errorf("got %q, %v, options %v; want %q", got, err, c.oack, want)
	}
	if _, err := c.fetch(t, "big"); err == nil || !strings.Contains(err.Error(), "octet") {
		t.Errorf("a long file as text: %v", err)
	}
}

// TestTFTPRefusals: each with the code of its RFC.
func TestTFTPRefusals(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "a", bootdir.ModeDir, content{"linux": "linux"})
	s := start(t, Options{Dir: dir})
	for _, c := range []struct {
		packet string
		code   uint16
	}{
		{"\x00\x01missing\x00octet\x00", 1},
		{"\x00\x01a\x00octet\x00", 1},
		{"\x00\x01../../etc/passwd\x00octet\x00", 1},
		{"\x00\x01.nbextract/lock\x00octet\x00", 1},
		{"\x00\x02a/linux\x00octet\x00", 2},
		{"\x00\x01a/linux\x00mail\x00", 4},
		{"\x00\x01a/linux", 4},
		{"\x00\x01\x00octet\x00", 4},
		{"\x00\x01a/linux\x00octet", 4},
		{"\x00\x07x", 4},
		{"\x00\x04\x00\x01", 4},
	} {
		conn, err := net.DialUDP("udp4", nil, s.TFTPAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		// The answer comes from another port, so the socket must not be connected.
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WriteToUDP([]byte(c.packet), s.TFTPAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 600)
		n, err := conn.Read(buf)
		conn.Close()
		if err != nil || n < 5 || binary.BigEndian.Uint16(buf) != 5 || binary.BigEndian.Uint16(buf[2:]) != c.code || buf[n-1] != 0 {
			t.Errorf("%q: got %q, %v; want error %d", c.packet, buf[:n], err, c.code)
		}
	}
}

// TestTFTPProbe: firmware asks for the size, ends that transfer and asks again from
// the same port, as OVMF does.
func TestTFTPProbe(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "shim", random(4, 5000))
	s := start(t, Options{Dir: dir})
	c := s.client("127.0.0.1", "tsize", "0", "blksize", "1468")
	conn, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 2000)
	ask := func(p []byte, to *net.UDPAddr) (byte, *net.UDPAddr) {
		t.Helper()
		if _, err := conn.WriteToUDP(p, to); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			t.Fatal(err)
		}
		return buf[1], from
	}
	op, first := ask(c.request("shim"), c.server)
	if op != 6 {
		t.Fatalf("got packet type %d for the probe", op)
	}
	if _, err := conn.WriteToUDP([]byte("\x00\x05\x00\x00done\x00"), first); err != nil {
		t.Fatal(err)
	}
	c.options = [][2]string{{"blksize", "1468"}}
	op, second := ask(c.request("shim"), c.server)
	if op != 6 || second.Port == first.Port {
		t.Errorf("got packet type %d from port %d, first was %d", op, second.Port, first.Port)
	}
	if op, _ := ask([]byte{0, 4, 0, 0}, second); op != 3 {
		t.Errorf("got packet type %d for the acknowledgement", op)
	}
}

// TestTFTPLimits: one client cannot take what others need, and a silent one holds
// nobody.
func TestTFTPLimits(t *testing.T) {
	dir := t.TempDir()
	body := random(5, 3000)
	write(t, dir, "f", body)
	s := start(t, Options{Dir: dir, MostPerClient: 3, Most: 5, Drain: 1}) // the silent ones are not waited for
	silent := func(from string) {
		c := s.client(from)
		conn, err := c.dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := conn.WriteToUDP(c.request("f"), c.server); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 600)
		if _, err := conn.Read(buf); err != nil { // the first block; it is never acknowledged
			t.Fatal(err)
		}
	}
	for range 3 {
		silent("127.0.0.2")
	}
	var refused *tftpError
	if _, err := s.client("127.0.0.2").fetch(t, "f"); !errors.As(err, &refused) || refused.code != 0 {
		t.Errorf("the fourth transfer of a client: %v", err)
	}
	if got, err := s.client("127.0.0.3").fetch(t, "f"); err != nil || got != body {
		t.Errorf("another client: %d bytes, %v", len(got), err)
	}
	silent("127.0.0.4")
	silent("127.0.0.5")
	if _, err := s.client("127.0.0.6").fetch(t, "f"); !errors.As(err, &refused) {
		t.Errorf("one above all: %v", err)
	}
}

// TestTFTPStop: what is being sent is sent to its end when the server is to stop.
func TestTFTPStop(t *testing.T) {
	dir := t.TempDir()
	body := random(6, 200_000)
	write(t, dir, "f", body)
	s := start(t, Options{Dir: dir})
	var got bytes.Buffer
	stopped := make(chan struct{})
	w := writerFunc(func(p []byte) (int, error) {
		if got.Len() == 0 {
			go func() { defer close(stopped); s.stop() }()
		}
		return got.Write(p)
	})
	if err := s.client("127.0.0.1").get("f", w); err != nil || got.String() != body {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
	<-stopped
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestTFTPClientOfDebian fetches with tftp-hpa.
func TestTFTPClientOfDebian(t *testing.T) {
	tftp := testneed.Tool(t, "tftp") // Debian's tftp-hpa
	dir, out := t.TempDir(), t.TempDir()
	body := random(7, 3<<20)
	install(t, dir, "os/debian/12/amd64", bootdir.ModeDir, content{"linux": body, "BOOTL": "-> linux"})
	write(t, dir, "menu", "a\nb\n")
	s := start(t, Options{Dir: dir})
	port := strconv.Itoa(s.TFTPAddr().(*net.UDPAddr).Port)
	for _, c := range []struct{ mode, name, want string }{
		{"binary", "os/debian/12/amd64/BOOTL", body},
		{"ascii", "menu", "a\nb\n"},
	} {
		file := filepath.Join(out, "got")
		// It exits with 0 also after an error, so only the file counts.
		msg, err := exec.Command(tftp, "-4", "-m", c.mode, "127.0.0.1", port, "-c", "get", c.name, file).CombinedOutput()
		got, rerr := os.ReadFile(file)
		if err != nil || rerr != nil || string(got) != c.want {
			t.Errorf("%s: %d bytes, %v, %v, %q", c.name, len(got), err, rerr, msg)
		}
	}
}

// FuzzRequest: no packet ends the server or asks for more than is allowed.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"\x00\x01f\x00octet\x00", "\x00\x01f\x00netascii\x00blksize\x001468\x00tsize\x000\x00",
		"\x00\x01f\x00octet\x00windowsize\x0065535\x00timeout\x00255\x00", "\x00\x02f\x00octet\x00", "\x00\x05\x00\x00x\x00", "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		_, _ = parseAnswer(p)
		r, err := parseRequest(p)
		if (r == nil) != (err != nil) {
			t.Fatalf("request %v, error %v", r, err)
		}
		if err != nil {
			return
		}
		if r.name == "" || strings.ContainsRune(r.name, 0) || r.block < minBlock || r.block > maxBlock ||
			r.window < 1 || r.window > maxWindow || r.timeout < 0 || r.timeout > maxTimeout*time.Second {
			t.Fatalf("out of bounds: %+v", r)
		}
		// What is granted can be read by a client.
		oack := r.acknowledge(1 << 40)
		if (oack == nil) != (len(r.options) == 0) {
			t.Fatalf("OACK %q for %v", oack, r.options)
		}
		if oack != nil {
			c := &tftpClient{}
			if err := c.granted(oack[2:]); err != nil || !slices.Equal(c.order, slices.Compact(slices.Clone(c.order))) {
				t.Fatalf("OACK %q: %v", oack, err)
			}
		}
	})
}
