package transport

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/testserver"
)

// manyRanges are parts of many sizes over the whole blob, near and far.
func manyRanges(size int64) []Range {
	var ranges []Range
	step := size / 250
	for at := int64(0); at+step < size; at += step {
		ranges = append(ranges, Range{at, 1 + at*7919/step%(step/2)})
		if len(ranges)%3 == 0 {
			ranges = append(ranges, Range{at + step*2/3, 17})
		}
	}
	return ranges
}

func TestRangesOfRealRegistry(t *testing.T) {
	host, requests := startRegistry(t)
	content := noise(8 << 20)
	im := makeImage(t, string(content))
	c := testClient(t, insecure(Options{PreferHTTP: yes}))
	if err := publish(t, c, host+"/netboot/demo:v1", im); err != nil {
		t.Fatal(err)
	}
	requests()
	checkRealRanges(t, c, host+"/netboot/demo:v1", im, content, 4)
	t.Logf("%d requests", len(requests()))
	b, err := resume(t, openSource(t, c, host+"/netboot/demo:v1"), im.m.Layers[0], bytes.NewReader(content[:5000000]))
	if err != nil || !bytes.Equal(b, content) {
		t.Errorf("resume: %d bytes, %v", len(b), err)
	}
}

func TestRangesOfNginx(t *testing.T) {
	content := noise(8 << 20)
	im := makeImage(t, string(content))
	dir := t.TempDir()
	blobs := mkdir(t, dir, "v2", "netboot", "demo", "blobs")
	write(t, filepath.Join(blobs, im.m.Layers[0].Digest.String()), string(content))
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := testClient(t, insecure(Options{PreferHTTP: yes}))
	for _, tt := range []struct {
		extra string
		most  int
	}{
		{"", 4},
		{"max_ranges 1;", 300},
		{"max_ranges 0;", 0}, // no ranges
	} {
		addr := testserver.Nginx(t, fmt.Sprintf("server { listen 80; root %s; %s }", dir, tt.extra))
		if tt.most > 0 {
			checkRealRanges(t, c, addr+"/netboot/demo:v1", im, content, tt.most)
		} else if _, err := readRanges(t.Context(), openSource(t, c, addr+"/netboot/demo:v1"), im.m.Layers[0], content, scattered()); !errors.Is(err, ErrNoRanges) {
			t.Errorf("%q: %v", tt.extra, err)
		}
		b, err := resume(t, openSource(t, c, addr+"/netboot/demo:v1"), im.m.Layers[0], bytes.NewReader(content[:5000000]))
		if err != nil || !bytes.Equal(b, content) {
			t.Errorf("%q: resume: %d bytes, %v", tt.extra, len(b), err)
		}
	}
}

func checkRealRanges(t *testing.T, c *Client, ref string, im testImage, content []byte, most int) {
	t.Helper()
	for _, ranges := range [][]Range{scattered(), manyRanges(int64(len(content)))} {
		src := openSource(t, c, ref)
		n, err := readRanges(t.Context(), src, im.m.Layers[0], content, ranges)
		u := src.Usage()
		if err != nil || n != len(ranges) || u.Requests > most {
			t.Errorf("%d of %d parts, %v, usage %+v", n, len(ranges), err, u)
		}
		var wanted int64
		for _, r := range ranges {
			wanted += r.Length
		}
		t.Logf("%d parts of %d bytes: %d requests, %d bytes", len(ranges), wanted, u.Requests, u.Bytes)
	}
}
