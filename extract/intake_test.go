package extract

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// imageLayer is a tar of an image.
func imageLayer(at int, diffID string, size int64) layer {
	return &tarLayer{
		desc: ocispec.Descriptor{Size: size}, at: at,
		holds: spec.ArtifactLayer{Path: ".", Dir: true, Digest: digest.Digest(diffID)},
	}
}

func newTestIntake(sums map[string]string) *intake {
	in := newIntake(nil, &resolve.Target{}, layerIndex{}, nowhere{}, nil)
	in.layers = []layer{imageLayer(0, "", 0)}
	in.sums, in.exact = sums, sums != nil
	return in
}

func TestFitsRefuses(t *testing.T) {
	dir := func(p string) spec.Entry { return spec.Entry{Path: p, Type: spec.TypeDir} }
	link := func(p string) spec.Entry { return spec.Entry{Path: p, Type: spec.TypeSymlink, Target: "x"} }
	for _, tc := range []struct {
		name    string
		sums    map[string]string
		entries []spec.Entry
		rule    string // that refuses the last entry, empty for none
	}{
		{"a directory twice", nil, []spec.Entry{dir("a"), dir("a")}, ""},
		{"a file twice", nil, []spec.Entry{file("a", "1"), file("a", "1")}, spec.RulePathTwice},
		{"a link over an implied directory", nil, []spec.Entry{file("a/b", "1"), link("a")}, spec.RulePathTwice},
		{"below a link", nil, []spec.Entry{link("a"), file("a/b", "1")}, spec.RulePathParent},
		{"a listed link", map[string]string{"a": "1"}, []spec.Entry{link("a")}, spec.RuleSumsExtra},
		{"a listed directory", map[string]string{"a": "1"}, []spec.Entry{dir("a")}, spec.RuleSumsExtra},
		{"below a listed file", map[string]string{"a": "1"}, []spec.Entry{file("a/b", "1")}, spec.RulePathParent},
		{"a file named as the root", nil, []spec.Entry{file(".", "1")}, spec.RulePath},
		{"outside", nil, []spec.Entry{file("../a", "1")}, spec.RulePath},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := newTestIntake(tc.sums)
			var err error
			for _, e := range tc.entries {
				err = in.fits(e)
			}
			var r *spec.Refusal
			if errors.As(err, &r); (r == nil) != (tc.rule == "") || r != nil && r.Rule != tc.rule {
				t.Errorf("got %v, want rule %q", err, tc.rule)
			}
		})
	}
}

// A few entries can stand for a great many directories.
func TestImpliedDirectoriesCount(t *testing.T) {
	in := newTestIntake(nil)
	deep := strings.Repeat("/d", 120)
	var err error
	n := 0
	for ; n < 2000 && err == nil; n++ {
		err = in.fits(spec.Entry{Path: fmt.Sprintf("%d%s", n, deep), Type: spec.TypeDir})
	}
	var r *spec.Refusal
	if !errors.As(err, &r) || r.Rule != spec.RuleEntryCount || len(in.seen) > spec.MaxEntries {
		t.Errorf("after %d entries: %v, %d paths", n, err, len(in.seen))
	}
}

func TestReuseUnderAListedFile(t *testing.T) {
	in := newTestIntake(map[string]string{"k": "1", "k/b": "1"})
	p := &Plan{Items: []Item{{Path: "k/b", Type: spec.TypeFile, Op: OpLink, SHA256: "1"}}}
	var r *spec.Refusal
	if err := in.reuse(context.Background(), p); !errors.As(err, &r) || r.Rule != spec.RulePathParent {
		t.Errorf("got %v", err)
	}
}

// The sums of a recorded image are what its list said, not what its tree held:
// an unlisted hard link must not become a promise.
func TestRecordedSums(t *testing.T) {
	layer := &bootdir.Layer{DiffID: "d", Entries: []spec.Entry{file(spec.SumsName, "s"), file("k", "1")}}
	image := &bootdir.Image{
		Sums:    []spec.Sum{{Path: "k", SHA256: "1"}},
		Entries: []spec.Entry{file(spec.SumsName, "s"), file("k", "1"), file("k2", "1")},
	}
	sums, sum, ok := knownLayer{layer, image}.sums()
	if !ok || sum != "s" || len(sums) != 1 || sums[0].Path != "k" {
		t.Errorf("got %v, %v", sums, ok)
	}
	image.Sums = nil
	if _, _, ok := (knownLayer{layer, image}).sums(); ok {
		t.Error("a record without sums answered")
	}
}

func TestPayloadAfterHardLinkTargetMoved(t *testing.T) {
	in := newTestIntake(map[string]string{"k": "new"})
	in.known = layerIndex{tars: map[string]knownLayer{"d": {&bootdir.Layer{DiffID: "d", Entries: []spec.Entry{
		{Path: "k2", Type: spec.TypeHardlink, Target: "k", SHA256: "old"},
	}}, &bootdir.Image{}}}}
	in.layers[0] = imageLayer(0, "d", 0)
	entries, _ := in.foreseen()
	for _, e := range entries {
		if e.Path == "k2" && e.SHA256 != "new" {
			t.Errorf("the hard link is expected to hold %q", e.SHA256)
		}
	}
}

func TestOrderOfLayers(t *testing.T) {
	for want, sizes := range map[string][]int64{
		"[0 2 1]": {50, 30, 10},                   // the first may hold the list
		"[2 1 0]": {spec.MaxSumsSize + 1, 30, 10}, // too large for that
	} {
		in := newTestIntake(nil)
		in.layers = nil
		for i, size := range sizes {
			in.layers = append(in.layers, imageLayer(i, "", size))
		}
		if got := fmt.Sprint(in.order()); got != want {
			t.Errorf("sizes %v are read in the order %s, want %s", sizes, got, want)
		}
	}
}
