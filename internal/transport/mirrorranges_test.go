package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

// wantParts reads parts as a program does that knows what they hold, and tries again
// where a mirror lied.
func wantParts(t testing.TB, src Source, im testImage, content []byte) error {
	t.Helper()
	for {
		err := Ranges(t.Context(), src, im.m.Layers[0], scattered(), func(i int, r io.Reader) error {
			b, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			if at := scattered()[i]; !bytes.Equal(b, content[at.Offset:at.Offset+at.Length]) {
				return spec.Refuse(spec.RuleDigest, "", "part %d is wrong", i)
			}
			return nil
		})
		if !errors.As(err, new(*MirrorError)) {
			return err
		}
	}
}

func TestBlobMirrorsRanges(t *testing.T) {
	content := noise(3 << 20)
	good := goodRanges(content)
	for _, tt := range []struct {
		name    string
		mirrors []http.HandlerFunc
		counts  []int
		home    int
		warned  bool
	}{
		{"has it", []http.HandlerFunc{good, good}, []int{1, 0}, 0, false},
		{"lacks it", []http.HandlerFunc{status(404), good}, []int{1, 1}, 0, false},
		{"broken", []http.HandlerFunc{status(503)}, []int{2}, 1, false}, // several, then one
		{"knows no ranges", []http.HandlerFunc{whole(content), good}, []int{2, 1}, 0, false},
		{"one range at a time", []http.HandlerFunc{severalIgnored(content)}, []int{7}, 0, false},
		{"dies half way", []http.HandlerFunc{dying(good, 80000), good}, []int{1, 1}, 0, false},
		{"wrong", []http.HandlerFunc{flipped(content, 1<<19+3), good}, []int{1, 1}, 0, true},
		{"wrong, home is right", []http.HandlerFunc{flipped(content, 3<<20-1)}, []int{1}, 1, true},
		{"wrong where nobody looks", []http.HandlerFunc{flipped(content, 100000)}, []int{1}, 0, false},
		{"all wrong", []http.HandlerFunc{flipped(content, 0), flipped(content, 1<<20)}, []int{1, 1}, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, im := blobFake(t, content, good)
			warnings := 0
			o := insecure(Options{PreferHTTP: yes, Warn: func(string, ...any) { warnings++ }})
			var mirrors []*mirrorServer
			for _, h := range tt.mirrors {
				m := newMirror(t, h)
				o.BlobMirrors, mirrors = append(o.BlobMirrors, m.URL+"/blobs/"), append(mirrors, m)
			}
			c := testClient(t, o)
			src := openSource(t, c, home.host()+"/r:v1")
			if err := wantParts(t, src, im, content); err != nil {
				t.Fatal(err)
			}
			if states, _ := c.health.States(); tt.name == "has it" && states[mirrors[0].URL+"/blobs"].Latency <= 0 {
				t.Errorf("a mirror that answers is not noted: %+v", states)
			}
			for i, m := range mirrors {
				if got := m.requests(); len(got) != tt.counts[i] {
					t.Errorf("mirror %d: %q", i, got)
				}
			}
			if len(home.requests()) != tt.home || (warnings > 0) != tt.warned {
				t.Errorf("%d warnings, home %q", warnings, home.requests())
			}
		})
	}
}

// TestRangesTableLies: who refuses what all places give was told wrong, and nobody
// is accused.
func TestRangesTableLies(t *testing.T) {
	content := noise(3 << 20)
	home, im := blobFake(t, content, goodRanges(content))
	m := newMirror(t, goodRanges(content))
	warnings := 0
	c := testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: []string{m.URL}, Warn: func(string, ...any) { warnings++ }}))
	lie := bytes.Clone(content)
	lie[1<<20] ^= 1
	err := wantParts(t, openSource(t, c, home.host()+"/r:v1"), im, lie)
	wantRefusal(t, err, spec.RuleDigest)
	if warnings > 0 || c.health.Lied(m.URL, "") || len(m.requests()) != 1 {
		t.Errorf("%d warnings, %q", warnings, m.requests())
	}
}
