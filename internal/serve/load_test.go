//go:build linux

package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// load is how much TestLoad does.
type load struct {
	clients, idle, updates int
	size                   int // of the initrd, bytes
}

// loadOf reads the wish of who runs the test: NBPACK_SERVE_LOAD=full takes minutes.
func loadOf() load {
	switch {
	case os.Getenv("NBPACK_SERVE_LOAD") == "full":
		return load{50, 1000, 5, 100 << 20}
	case testing.Short():
		return load{10, 50, 2, 256 << 10}
	}
	return load{50, 1000, 3, 1 << 20}
}

// TestLoad: many machines boot at once while others do nothing and the tree is
// updated by real commits. No byte is wrong, and no machine gets files of two
// generations.
func TestLoad(t *testing.T) {
	l := loadOf()
	dir := t.TempDir()
	const live = "os/debian/12/amd64"
	// The same file names in each generation, in sizes that differ a little, so that
	// also a wrong length shows.
	generation := func(n int) content {
		return content{
			"shim": random(uint64(10*n), 900_000/8+n), "linux": random(uint64(10*n+1), l.size/4+n), "initrd": random(uint64(10*n+2), l.size+n),
		}
	}
	names := []string{"shim", "linux", "initrd"}
	var mu sync.Mutex
	known := map[string]int{} // sum → generation
	publish := func(n int) {
		files := generation(n)
		mu.Lock()
		for _, name := range names {
			known[name+sum(files[name])] = n
		}
		mu.Unlock()
		install(t, dir, live, bootdir.ModeDir, files)
	}
	publish(1)
	s := start(t, Options{Dir: dir})

	for i := range l.idle {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i%200))}}
		c, err := d.Dial("tcp", s.HTTPAddr().String())
		if err != nil {
			t.Fatalf("idle connection %d: %v", i, err)
		}
		defer c.Close()
	}

	// Each client says when it has its first file; an update follows each share of them.
	begun := make(chan struct{}, l.clients)
	var wrong, mixed, sent atomic.Int64
	perGeneration := make([]atomic.Int64, l.updates+2)
	boot := func(i int) error {
		has := sync.OnceFunc(func() { begun <- struct{}{} })
		defer has() // also if it failed: nobody waits for it for ever
		from := fmt.Sprintf("127.0.1.%d", i+1)
		first := 0
		for k, name := range names {
			h := sha256.New()
			n, err := fetch(s, from, live+"/"+name, i%3 != 0, h)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", from, name, err)
			}
			sent.Add(n)
			mu.Lock()
			g := known[name+hex.EncodeToString(h.Sum(nil))]
			mu.Unlock()
			switch {
			case g == 0:
				wrong.Add(1)
			case k == 0:
				first = g
				has()
			case g != first:
				mixed.Add(1)
			}
		}
		perGeneration[first].Add(1)
		return nil
	}
	var all sync.WaitGroup
	errs := make(chan error, l.clients)
	for i := range l.clients {
		all.Go(func() { errs <- boot(i) })
		// The later ones begin while updates go on.
		if share := l.clients / (l.updates + 1); (i+1)%share == 0 && (i+1)/share <= l.updates {
			for range share / 2 {
				<-begun
			}
			publish(1 + (i+1)/share)
		}
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if wrong.Load() > 0 || mixed.Load() > 0 {
		t.Errorf("%d files with wrong bytes, %d of another generation than the first", wrong.Load(), mixed.Load())
	}
	spread := 0
	for i := range perGeneration {
		if perGeneration[i].Load() > 0 {
			spread++
		}
	}
	if spread < 2 {
		t.Errorf("all clients had one generation: the updates came too late to prove anything")
	}
	t.Logf("%d clients, %d idle connections, %d updates, %d generations in use, %d MiB sent", l.clients, l.idle, l.updates, spread, sent.Load()>>20)
}

// fetch gets one file over one of the protocols, from an address.
func fetch(s *running, from, name string, tftp bool, w io.Writer) (int64, error) {
	counted := &counter{w: w}
	if tftp {
		err := s.client(from, "blksize", "1468", "windowsize", "16", "tsize", "0").get(name, counted)
		return counted.n, err
	}
	c := httpClient(from)
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(context.Background(), "GET", s.url("/"+name), nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	_, err = io.Copy(counted, resp.Body)
	return counted.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.w.Write(p)
}
