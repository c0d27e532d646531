package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// foreignIndex is an index of others: odd white space, vendor keys, numbers in
// scientific notation.
func foreignIndex(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/foreign.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// foreignEntries are its entries as they are written.
func foreignEntries(t *testing.T) []string {
	t.Helper()
	doc, err := ociindex.Parse(foreignIndex(t))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for i := range doc.Len() {
		_, raw := doc.Entry(i)
		all = append(all, string(raw))
	}
	return all
}

// wantForeign fails unless every foreign entry is there, as it was written and
// in its order.
func wantForeign(t *testing.T, body []byte) {
	t.Helper()
	from := 0
	for _, e := range foreignEntries(t) {
		i := strings.Index(string(body[from:]), e)
		if i < 0 {
			t.Fatalf("the index misses or changed %s\n%s", e, body)
		}
		from += i + len(e)
	}
}

func add(t *testing.T, f Repository, tag string, children ...ocispec.Descriptor) *Result {
	t.Helper()
	r, err := AddChildren(t.Context(), f, tag, children, quick(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAddChildMakesIndex(t *testing.T) {
	f := newFakeRepo(t)
	d := f.push("v1", "linux/arm/v7", "a")
	r := add(t, f, "v1", d)
	want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + d.Digest.String() + `","size":` + fmt.Sprint(d.Size) +
		`,"annotations":{"disktype":"netboot","org.pulpproject.netboot.version":"1"},"platform":{"architecture":"arm","os":"linux","variant":"v7"}}` +
		`],"annotations":{"org.pulpproject.netboot.version":"1"}}`
	if got := string(f.body("v1")); got != want {
		t.Errorf("index\n%s\nwant\n%s", got, want)
	}
	if !r.Changed || r.Digest != digest.FromString(want) || len(r.Changes) != 1 || r.Changes[0].Action != Added || r.Changes[0].Tag != "v1-armv7" {
		t.Errorf("result %+v", r)
	}
	puts := len(f.puts)
	if r := add(t, f, "v1", d); r.Changed || len(f.puts) != puts || len(r.Changes) != 0 {
		t.Errorf("the same child again wrote %q: %+v", f.puts[puts:], r)
	}
}

func TestAddChildKeepsForeignBytes(t *testing.T) {
	f := newFakeRepo(t)
	f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	add(t, f, "v1", f.push("v1", "linux/amd64", "a"))
	body := f.body("v1")
	wantForeign(t, body)
	add(t, f, "v1", f.push("v1", "linux/amd64", "b")) // replaces it
	if got := len(entriesOf(t, f.body("v1"))); got != len(entriesOf(t, body)) {
		t.Errorf("%d entries after a replacement of one", got)
	}
	wantForeign(t, f.body("v1"))
	// Take the one entry out again: what is left differs by the annotation alone.
	o := RemoveOptions{Options: quick(t), Annotations: map[string]string{spec.AnnotationDiskType: "netboot"}}
	o.Platform, _ = spec.ParsePlatform("amd64")
	if _, err := Remove(t.Context(), f, "v1", o); err != nil {
		t.Fatal(err)
	}
	doc, err := ociindex.Parse(foreignIndex(t))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = doc.Annotate(spec.LabelVersion, "1"); err != nil {
		t.Fatal(err)
	}
	if got := f.body("v1"); !bytes.Equal(got, doc.Bytes()) {
		t.Errorf("after adding and removing\n%s\nwant\n%s", got, doc.Bytes())
	}
}

// TestNeverOverwritesBlindly gives answers that a careless tool takes for "no
// index yet".
func TestNeverOverwritesBlindly(t *testing.T) {
	for name, answer := range map[string]error{
		"500":                   errors.New("registry answered 500"),
		"404 of a listed tag":   errors.New("lists the tag and yet answers that it is not found"),
		"damaged":               spec.Refuse(spec.RuleDigest, "", "content does not have this digest"),
		"interrupted":           context.Canceled,
		"cannot list the tags":  nil,
		"child tag answers 500": nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRepo(t)
			f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
			d := f.push("v1", "linux/amd64", "a")
			f.push("v1", "linux/arm64", "b")
			f.before = func(op string) error {
				switch {
				case answer != nil && op == "get v1":
					return answer
				case name == "cannot list the tags" && op == "tags", name == "child tag answers 500" && op == "get v1-arm64":
					return errors.New("registry answered 500")
				}
				return nil
			}
			if _, err := AddChildren(t.Context(), f, "v1", []ocispec.Descriptor{d}, quick(t)); err == nil {
				t.Error("no error")
			}
			if !bytes.Equal(f.body("v1"), foreignIndex(t)) || f.putsOf("v1") > 0 {
				t.Errorf("the index was written: %q", f.puts)
			}
		})
	}
}

// TestGoneForAMoment has the index vanish in the middle of a run.
func TestGoneForAMoment(t *testing.T) {
	f := newFakeRepo(t)
	f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	d := f.push("v1", "linux/amd64", "a")
	gets := 0
	f.before = func(op string) error {
		if op == "get v1" {
			if gets++; gets == 2 || gets == 3 {
				return &transport.NotFoundError{Ref: "fake", What: "v1"}
			}
		}
		return nil
	}
	add(t, f, "v1", d)
	wantForeign(t, f.body("v1"))
	if n := len(entriesOf(t, f.body("v1"))); n != len(foreignEntries(t))+1 {
		t.Errorf("%d entries", n)
	}
	// For ever.
	gets = 0
	f.before = func(op string) error {
		if op == "get v1" {
			if gets++; gets > 1 {
				return &transport.NotFoundError{Ref: "fake", What: "v1"}
			}
		}
		return nil
	}
	puts := f.putsOf("v1")
	_, err := AddChildren(t.Context(), f, "v1", []ocispec.Descriptor{f.push("v1", "linux/arm64", "b")}, quick(t))
	var race *lostRaceError
	if !errors.As(err, &race) || !race.gone || f.putsOf("v1") > puts+1 {
		t.Errorf("error %v after %d more writes", err, f.putsOf("v1")-puts)
	}
}

// TestRaces puts something between two steps of a run, once, and looks at what
// there is in the end.
func TestRaces(t *testing.T) {
	foreign := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest.FromString("late").String() + `" ,"size":7,"platform":{"os":"linux","architecture":"s390x"},"x":[1e0]}`
	insert := func(t *testing.T, f *fakeRepo, raw string) {
		doc, err := ociindex.Parse(f.body("v1"))
		if err != nil {
			t.Fatal(err)
		}
		if doc, err = doc.InsertRaw(0, []byte(raw)); err != nil {
			t.Fatal(err)
		}
		f.set("v1", ocispec.MediaTypeImageIndex, doc.Bytes())
	}
	for _, test := range []struct {
		name string
		at   string // the operation before which it happens
		nth  int
		do   func(t *testing.T, f *fakeRepo)
		cas  bool
		want string // text that the index has in the end
		not  string
	}{
		{name: "another child is published before the write", at: "put v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			f.push("v1", "linux/riscv64", "other")
		}, want: "riscv64"},
		{name: "another writer without our entry after the write", at: "tags", nth: 2, do: func(t *testing.T, f *fakeRepo) {
			f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
		}, want: "netboot"},
		{name: "an index from nothing after the write", at: "tags", nth: 2, do: func(t *testing.T, f *fakeRepo) {
			f.set("v1", ocispec.MediaTypeImageIndex, ociindex.New(nil).Bytes())
		}, want: "netboot"},
		{name: "a foreign entry before the read", at: "get v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			insert(t, f, foreign)
		}, want: foreign},
		{name: "a foreign entry between read and write, with If-Match", at: "put v1", nth: 1, cas: true, do: func(t *testing.T, f *fakeRepo) {
			insert(t, f, foreign)
		}, want: foreign},
		{name: "a foreign entry comes and is dropped again", at: "get v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			insert(t, f, foreign)
			f.before = func(op string) error {
				if op == "tags" { // the look after the write
					f.mu.Lock()
					f.before = nil
					f.mu.Unlock()
					f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
				}
				return nil
			}
		}, want: foreign},
		{name: "a foreign tool replaces content of its own", at: "tags", nth: 2, do: func(t *testing.T, f *fakeRepo) {
			old := entriesOf(t, foreignIndex(t))[1].Digest
			raw := strings.Replace(string(foreignIndex(t)), old.String(), digest.FromString("late").String(), 1)
			f.set("v1", ocispec.MediaTypeImageIndex, []byte(raw))
		}, want: digest.FromString("late").String(), not: entriesOf(t, foreignIndex(t))[1].Digest.String()},
		{name: "a child is removed meanwhile", at: "put v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			p, _ := spec.ParsePlatform("arm64")
			if _, err := Remove(t.Context(), f, "v1", RemoveOptions{Options: quick(t), Platform: p, Annotations: map[string]string{spec.AnnotationDiskType: "netboot"}}); err != nil {
				t.Fatal(err)
			}
		}, want: "amd64", not: digest.FromBytes(childOf(t, "v1", "linux/arm64", "old")).String()},
		{name: "a foreign entry is removed meanwhile", at: "put v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			if _, err := Remove(t.Context(), f, "v1", RemoveOptions{Options: quick(t), Digest: entriesOf(t, foreignIndex(t))[0].Digest}); err != nil {
				t.Fatal(err)
			}
		}, want: "netboot", not: entriesOf(t, foreignIndex(t))[0].Digest.String()},
		{name: "the same child is built anew", at: "put v1", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			f.push("v1", "linux/amd64", "newer")
		}, want: digest.FromBytes(childOf(t, "v1", "linux/amd64", "newer")).String(), not: digest.FromBytes(childOf(t, "v1", "linux/amd64", "a")).String()},
		{name: "our child tag is deleted", at: "tags", nth: 1, do: func(t *testing.T, f *fakeRepo) {
			f.mu.Lock()
			delete(f.tags, "v1-amd64")
			f.mu.Unlock()
		}, want: digest.FromBytes(childOf(t, "v1", "linux/amd64", "a")).String()},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeRepo(t)
			f.cas = test.cas
			f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
			for _, d := range entriesOf(t, foreignIndex(t)) {
				f.manifests[d.Digest] = fakeManifest{d.MediaType, []byte("{}")}
			}
			f.manifests[digest.FromString("late")] = fakeManifest{ocispec.MediaTypeImageManifest, []byte("{}")}
			add(t, f, "v1", f.push("v1", "linux/arm64", "old"))
			d := f.push("v1", "linux/amd64", "a")
			seen := 0
			f.before = func(op string) error {
				if op == test.at {
					if seen++; seen == test.nth {
						f.mu.Lock()
						f.before = nil
						f.mu.Unlock()
						test.do(t, f)
					}
				}
				return nil
			}
			add(t, f, "v1", d)
			body := string(f.body("v1"))
			if test.want != "" && !strings.Contains(body, test.want) {
				t.Errorf("the index misses %s\n%s", test.want, body)
			}
			if test.not != "" && strings.Contains(body, test.not) {
				t.Errorf("the index has %s\n%s", test.not, body)
			}
			if test.not == "" || !strings.Contains(string(foreignIndex(t)), test.not) {
				wantForeign(t, []byte(body))
			}
			for _, e := range entriesOf(t, []byte(body)) {
				if slices.ContainsFunc(entriesOf(t, []byte(body)), func(o ocispec.Descriptor) bool { return o.Digest == e.Digest && !sameEntry(o, e) }) {
					t.Errorf("%s is there twice\n%s", e.Digest, body)
				}
			}
		})
	}
}

// TestManyWriters lets writers of one index race in memory, with and without a
// registry that knows If-Match.
func TestManyWriters(t *testing.T) {
	arches := []string{"linux/amd64", "linux(a-2)/arm64", "linux/arm/v6", "linux/arm/v7", "linux/ppc64le", "linux/s390x", "linux(a-1)/amd64", "linux(v1)/arm64"}
	for _, cas := range []bool{false, true} {
		for round := range 6 {
			f := newFakeRepo(t)
			f.cas = cas
			f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
			var g sync.WaitGroup
			for _, a := range arches {
				g.Go(func() {
					d := f.push("v1", a, fmt.Sprint(a, round))
					if _, err := AddChildren(t.Context(), f, "v1", []ocispec.Descriptor{d}, quick(t)); err != nil {
						t.Error(err)
					}
				})
			}
			g.Wait()
			wantForeign(t, f.body("v1"))
			have := platforms(t, f.body("v1"))
			for _, a := range arches {
				if !slices.Contains(have, a) {
					t.Errorf("cas %t, round %d: %s is lost: %q", cas, round, a, have)
				}
			}
			if len(have) != len(arches)+len(foreignEntries(t)) {
				t.Errorf("cas %t, round %d: entries %q", cas, round, have)
			}
		}
	}
}

// TestUnknownEntityTag meets a registry that compares If-Match with something
// else than a digest.
func TestUnknownEntityTag(t *testing.T) {
	f := newFakeRepo(t)
	f.stubborn = true
	f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	add(t, f, "v1", f.push("v1", "linux/amd64", "a"))
	wantForeign(t, f.body("v1"))
	if n := len(entriesOf(t, f.body("v1"))); n != len(foreignEntries(t))+1 {
		t.Errorf("%d entries", n)
	}
}

// TestLostRace meets a writer that never rests.
func TestLostRace(t *testing.T) {
	f := newFakeRepo(t)
	d := f.push("v1", "linux/amd64", "a")
	n := 0
	f.before = func(op string) error {
		if op == "get v1" {
			n++
			f.set("v1", ocispec.MediaTypeImageIndex, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","n":%d,"manifests":[]}`, n))
		}
		return nil
	}
	_, err := AddChildren(t.Context(), f, "v1", []ocispec.Descriptor{d}, quick(t))
	var race *lostRaceError
	if !errors.As(err, &race) || race.gone || race.writes == 0 || race.Hint() == "" {
		t.Errorf("error %v", err)
	}
}

func TestInterruptedRunEnds(t *testing.T) {
	f := newFakeRepo(t)
	d := f.push("v1", "linux/amd64", "a")
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(op string) error {
		if op == "get v1" {
			f.set("v1", ocispec.MediaTypeImageIndex, ociindex.New(nil).Bytes())
			cancel()
		}
		return nil
	}
	o := quick(t)
	o.Sleep = nil
	if _, err := AddChildren(ctx, f, "v1", []ocispec.Descriptor{d}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
