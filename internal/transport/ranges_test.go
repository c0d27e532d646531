package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport/byterange"
)

// noise gives n bytes that nothing in a protocol could be mistaken for.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// scattered are parts far enough from each other to be asked for one by one.
func scattered() []Range {
	return []Range{{0, 10}, {1 << 19, 70000}, {1 << 20, 1}, {3 << 19, 300000}, {2<<20 + 5, 3}, {3<<20 - 7, 7}}
}

// readRanges reads parts and compares them with the blob.
func readRanges(ctx context.Context, src Source, d ocispec.Descriptor, want []byte, ranges []Range) (int, error) {
	n := 0
	err := Ranges(ctx, src, d, ranges, func(i int, r io.Reader) error {
		if i != n {
			return fmt.Errorf("part %d comes as number %d", i, n)
		}
		n++
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if part := want[ranges[i].Offset:][:ranges[i].Length]; !bytes.Equal(b, part) {
			return fmt.Errorf("part %d has %d bytes and is wrong", i, len(b))
		}
		return nil
	})
	return n, err
}

// blobFake is a registry with one large blob, which serve answers for.
func blobFake(t testing.TB, content []byte, serve http.HandlerFunc) (*fakeRegistry, testImage) {
	f := newFake(t, false)
	im := makeImage(t, string(content))
	f.put(t, "r", "v1", im)
	path := "/blobs/" + im.m.Layers[0].Digest.String()
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		hit := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, path)
		if hit {
			serve(w, r)
		}
		return hit
	})
	return f, im
}

// TestRangesFromServers: what a server may do with ranges, and what comes of it.
func TestRangesFromServers(t *testing.T) {
	content := noise(3 << 20)
	good := goodRanges(content)
	const fallback, fails, right = "fallback", "fails", ""
	for _, tt := range []struct {
		name   string
		serve  http.HandlerFunc
		want   string
		gets   int // requests
		ranges []Range
	}{
		{name: "good", serve: good, gets: 1},
		{name: "one part", serve: good, gets: 1, ranges: []Range{{7, 100000}}},
		{name: "the whole as a part", serve: good, gets: 1, ranges: []Range{{0, 3 << 20}}},
		{name: "neighbours are one part", serve: onlySingle(content), gets: 1, ranges: []Range{{0, 1000}, {1000, 1000}, {2100, 100}, {6296, 9}}},
		{name: "one at a time", serve: onlySingle(content), gets: 6},
		{name: "several are ignored", serve: severalIgnored(content), gets: 7},
		{name: "first one only", serve: firstOnly(content), gets: 6},
		{name: "several are too many", serve: ifSeveral(good, status(416)), gets: 7},
		{name: "several are a bad request", serve: ifSeveral(good, status(400)), gets: 7},
		{name: "several make it fail", serve: ifSeveral(good, status(500)), gets: 11},
		{name: "ignores ranges", serve: whole(content), want: fallback, gets: 2},
		{name: "ignores ranges, chunked", serve: chunkedWhole(content), want: fallback, gets: 2},
		{name: "416 always", serve: status(416), want: fallback, gets: 2},
		{name: "404", serve: status(404), want: fails, gets: 1},
		{name: "403", serve: status(403), want: fails, gets: 1},
		{name: "503 twice, then good", serve: first(2, status(503), good), gets: 3},
		{name: "dropped twice, then good", serve: first(2, drop, good), gets: 3},
		{name: "wrong start", serve: headerOf(good, "Content-Range", "bytes 1-10/3145728"), want: fallback, gets: 2},
		{name: "wrong end", serve: headerOf(good, "Content-Range", "bytes 0-10/3145728"), want: fallback, gets: 2},
		{name: "wrong total", serve: otherTotal(content), want: fallback, gets: 2},
		{name: "no Content-Range", serve: headerOf(good, "Content-Range", ""), want: fallback, gets: 2},
		{name: "compressed on the way", serve: headerOf(good, "Content-Encoding", "gzip"), want: fallback, gets: 1},
		{name: "identity", serve: headerOf(good, "Content-Encoding", "identity"), gets: 1},
		{name: "unknown total", serve: parts(content, partsOptions{noTotal: true}), gets: 1},
		{name: "joined parts", serve: parts(content, partsOptions{join: 12 << 10}), gets: 1, ranges: []Range{{0, 10}, {10000, 10}, {1 << 20, 10}, {1<<20 + 12000, 1}}},
		{name: "all joined, alone", serve: joinAll(content), gets: 1, ranges: []Range{{0, 10}, {8000, 10}, {19000, 10}}},
		{name: "joined over much", serve: joinAll(content), gets: 7},
		{name: "other order", serve: parts(content, partsOptions{swap: true}), gets: 7},
		{name: "part twice", serve: parts(content, partsOptions{twice: true}), gets: 6},
		{name: "part missing", serve: parts(content, partsOptions{leaveOut: 2}), gets: 5},
		{name: "last parts missing", serve: parts(content, partsOptions{most: 3}), gets: 2},
		{name: "no parts", serve: parts(content, partsOptions{most: -1}), gets: 7},
		{name: "short part", serve: parts(content, partsOptions{cut: 1}), gets: 6},
		{name: "long part", serve: parts(content, partsOptions{more: "x"}), gets: 5},
		{name: "part not asked for", serve: parts(content, partsOptions{shift: 1}), gets: 7},
		{name: "other boundary", serve: parts(content, partsOptions{says: "other"}), gets: 7},
		{name: "no boundary", serve: parts(content, partsOptions{says: "-"}), gets: 7},
		{name: "long boundary", serve: parts(content, partsOptions{says: strings.Repeat("b", 71)}), gets: 7},
		{name: "garbage before", serve: parts(content, partsOptions{before: strings.Repeat("garbage\r\n", 9000)}), gets: 7},
		{name: "line end before", serve: parts(content, partsOptions{before: "\r\n"}), gets: 1},
		{name: "huge header", serve: parts(content, partsOptions{header: "X: " + strings.Repeat("x", 9000) + "\r\n"}), gets: 7},
		{name: "many headers", serve: parts(content, partsOptions{header: strings.Repeat("X: y\r\n", 9000)}), gets: 7},
		{name: "two ranges in a part", serve: parts(content, partsOptions{header: "content-range: bytes 0-1/2\r\n"}), gets: 7},
		{name: "compressed part", serve: parts(content, partsOptions{header: "Content-Encoding: gzip\r\n"}), gets: 7},
		{name: "no closing boundary", serve: parts(content, partsOptions{open: true}), gets: 2},
		{name: "part of another blob", serve: parts(content, partsOptions{total: 99}), gets: 7},
		{name: "dies after 1000 bytes each time", serve: dying(good, 1000), want: fails, gets: 6},
		{name: "dies after 80000 bytes, once", serve: first(1, dying(good, 80000), good), gets: 2},
		{name: "dies in every part", serve: dying(onlySingle(content), 100000), gets: 8},
		{name: "more than Content-Range says", serve: longer(content), want: fallback, gets: 2},
		{name: "part begins earlier", serve: parts(content, partsOptions{early: 1}), gets: 6},
		{name: "redirect", serve: redirectTo(t, good), gets: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, im := blobFake(t, content, tt.serve)
			src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
			if _, err := src.Resolve(t.Context()); err != nil { // settles the scheme
				t.Fatal(err)
			}
			f.forget()
			if tt.ranges == nil {
				tt.ranges = scattered()
			}
			n, err := readRanges(t.Context(), src, im.m.Layers[0], content, tt.ranges)
			switch {
			case tt.want == right && (err != nil || n != len(tt.ranges)):
				t.Errorf("%d parts, %v", n, err)
			case tt.want == fallback && (!errors.Is(err, ErrNoRanges) || n != 1):
				t.Errorf("%d parts, %v", n, err)
			case tt.want == fails && (err == nil || errors.Is(err, ErrNoRanges)):
				t.Errorf("got %v", err)
			}
			if got := f.requests(); len(got) != tt.gets {
				t.Errorf("%d requests: %q", len(got), got)
			}
			if tt.want == right && src.Usage().Bytes > 3<<20+100000 {
				t.Errorf("read %d bytes", src.Usage().Bytes)
			}
			if tt.want == fallback && src.Usage().Bytes > 4096 {
				t.Errorf("read %d bytes of what was not asked for", src.Usage().Bytes)
			}
			// What is left is the whole blob, where it can be had.
			if b, err := readBlob(t.Context(), src, im.m.Layers[0]); err == nil && !bytes.Equal(b, content) {
				t.Error("wrong blob")
			}
		})
	}
}

// forget begins the log of requests anew.
func (f *fakeRegistry) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

func yes(string) bool { return true }

// TestRangesManyParts: more parts than one request may ask for.
func TestRangesManyParts(t *testing.T) {
	content := noise(3 << 20)
	var ranges []Range
	for at := int64(0); at < 3<<20; at += 6000 {
		ranges = append(ranges, Range{at, 1000})
	}
	longest := 0
	good := goodRanges(content)
	f, im := blobFake(t, content, func(w http.ResponseWriter, r *http.Request) {
		longest = max(longest, len(r.Header.Get("Range")))
		good(w, r)
	})
	conns := connCount(f)
	src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
	if _, err := readRanges(t.Context(), src, im.m.Layers[0], content, ranges); err != nil {
		t.Fatal(err)
	}
	if got := len(f.requests()); got != (len(ranges)+byterange.MaxSpans-1)/byterange.MaxSpans || longest > 4100 || conns.Load() != 1 {
		t.Errorf("%d requests for %d parts, header of %d bytes, %d connections", got, len(ranges), longest, conns.Load())
	}
	if u := src.Usage(); u.Requests != len(f.requests()) || u.Bytes < int64(len(ranges))*1000 || u.Bytes > int64(len(ranges))*1200 {
		t.Errorf("usage %+v", u)
	}
}

// TestRangesOneConnection: requests for single parts share a connection.
func TestRangesOneConnection(t *testing.T) {
	content := noise(3 << 20)
	f, im := blobFake(t, content, firstOnly(content))
	conns := connCount(f)
	c := testClient(t, insecure(Options{PreferHTTP: yes}))
	for range 2 {
		src := openSource(t, c, f.host()+"/r:v1")
		if _, err := readRanges(t.Context(), src, im.m.Layers[0], content, scattered()); err != nil {
			t.Fatal(err)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

// TestRangesSlowEnd: the end of an answer is read although nobody wants it, for
// the sake of the connection.
func TestRangesSlowEnd(t *testing.T) {
	content := noise(1 << 20)
	got := make(chan bool)
	f, im := blobFake(t, content, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "multipart/byteranges; boundary=B")
		w.WriteHeader(206)
		for _, s := range askedSpans(r) {
			fmt.Fprintf(w, "\r\n--B\r\nContent-Range: bytes %d-%d/*\r\n\r\n%s", s.From, s.To-1, content[s.From:s.To])
		}
		fmt.Fprint(w, "\r\n--B")
		w.(http.Flusher).Flush()
		<-got
		fmt.Fprint(w, "--\r\n")
	})
	conns := connCount(f)
	src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
	for range 3 {
		err := Ranges(t.Context(), src, im.m.Layers[0], []Range{{0, 9}, {900000, 9}}, func(i int, r io.Reader) error {
			_, err := io.ReadAll(r)
			if i == 1 {
				got <- true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func connCount(f *fakeRegistry) *atomic.Int32 {
	var n atomic.Int32
	inner := f.Server.Config.Handler
	var seen = map[string]bool{}
	f.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		if !seen[r.RemoteAddr] {
			seen[r.RemoteAddr] = true
			n.Add(1)
		}
		f.mu.Unlock()
		inner.ServeHTTP(w, r)
	})
	return &n
}

// TestRangesHabit: a server that gave the whole blob once is not asked again.
func TestRangesHabit(t *testing.T) {
	content := noise(1 << 20)
	f, im := blobFake(t, content, whole(content))
	c := testClient(t, insecure(Options{PreferHTTP: yes}))
	for range 3 {
		src := openSource(t, c, f.host()+"/r:v1")
		if _, err := readRanges(t.Context(), src, im.m.Layers[0], content, []Range{{0, 9}, {900000, 9}}); !errors.Is(err, ErrNoRanges) {
			t.Errorf("got %v", err)
		}
	}
	if got := len(f.requests()); got != 2 {
		t.Errorf("%d requests", got)
	}
}

func TestRangesLocal(t *testing.T) {
	content := noise(3 << 20)
	im := makeImage(t, "sums", string(content))
	d := im.m.Layers[1]
	for _, to := range []string{"oci:%s/l:v1", "oci-archive:%s/f.tar:v1", "dir:%s/d"} {
		c := testClient(t, Options{})
		to = fmt.Sprintf(to, t.TempDir())
		if err := publish(t, c, to, im); err != nil {
			t.Fatal(err)
		}
		src := openSource(t, c, to)
		if _, err := readRanges(t.Context(), src, d, content, scattered()); err != nil || src.Usage() != (Usage{}) {
			t.Errorf("%s: %v", to, err)
		}
		other := d
		other.Size++
		if _, err := readRanges(t.Context(), src, other, content, scattered()); !errors.Is(err, ErrNoRanges) {
			t.Errorf("%s, other size: %v", to, err)
		}
		missing := describe("x/y", []byte("not there"))
		_, err := readRanges(t.Context(), src, missing, content, []Range{{0, 1}})
		wantNotFound(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		err = Ranges(ctx, src, d, scattered(), func(i int, r io.Reader) error {
			cancel()
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: %v", to, err)
		}
	}
}

// TestRangesCallers: what callers may do wrong, or want.
func TestRangesCallers(t *testing.T) {
	content := noise(3 << 20)
	f, im := blobFake(t, content, goodRanges(content))
	c := testClient(t, insecure(Options{PreferHTTP: yes}))
	local := "oci:" + t.TempDir() + "/l:v1"
	if err := publish(t, c, local, im); err != nil {
		t.Fatal(err)
	}
	d := im.m.Layers[0]
	for _, ref := range []string{f.host() + "/r:v1", local} {
		src := openSource(t, c, ref)
		for name, bad := range map[string][]Range{
			"order": {{10, 5}, {0, 5}}, "overlap": {{0, 5}, {4, 5}}, "outside": {{3<<20 - 1, 2}}, "behind": {{1 << 40, 1}},
			"empty": {{0, 0}}, "negative": {{-1, 5}}, "negative length": {{0, -1}}, "huge": {{1, 1<<63 - 1}},
		} {
			if n, err := readRanges(t.Context(), src, d, content, bad); err == nil || n > 0 {
				t.Errorf("%s: %s parts are read: %v", ref, name, err)
			}
		}
		if n, err := readRanges(t.Context(), src, d, content, nil); n != 0 || err != nil {
			t.Errorf("%s: nothing: %d, %v", ref, n, err)
		}
		mine := errors.New("enough")
		if err := Ranges(t.Context(), src, d, scattered(), func(i int, r io.Reader) error { return mine }); err != mine {
			t.Errorf("%s: the caller's error: %v", ref, err)
		}
		if err := Ranges(t.Context(), src, d, scattered(), func(i int, r io.Reader) error { return nil }); !errors.Is(err, errUnread) {
			t.Errorf("%s: unread: %v", ref, err)
		}
		bad := d
		bad.Digest = "sha256:../x"
		if _, err := readRanges(t.Context(), src, bad, content, scattered()); err == nil {
			t.Errorf("%s: bad digest", ref)
		}
	}
	if err := Ranges(t.Context(), noSource{}, d, scattered(), nil); !errors.Is(err, ErrNoRanges) {
		t.Errorf("source without ranges: %v", err)
	}
}

// noSource has no optional method.
type noSource struct{ Source }

func TestRangesCancel(t *testing.T) {
	content := noise(3 << 20)
	for _, what := range []string{"cancelled", "closed"} {
		f, im := blobFake(t, content, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-1999999/3145728")
			w.WriteHeader(206)
			_, _ = w.Write(content[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
		ctx, cancel := context.WithCancel(t.Context())
		err := Ranges(ctx, src, im.m.Layers[0], []Range{{0, 2000000}}, func(i int, r io.Reader) error {
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				return err
			}
			if what == "closed" {
				_ = src.Close()
			} else {
				cancel()
			}
			_, err := io.Copy(io.Discard, r)
			return err
		})
		cancel()
		if !errors.Is(err, context.Canceled) || len(f.requests()) != 1 {
			t.Errorf("%s: %v, %q", what, err, f.requests())
		}
	}
}
