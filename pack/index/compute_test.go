package index

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entries in short: kind, platform, a mark for the content.
//
//	c amd64 1   a container      n amd64 1   a netboot image
//	a amd64 1   an artifact      - amd64 1   a container without disktype
//	x 1         an entry without a platform
func short(t testing.TB, s string) ocispec.Descriptor {
	t.Helper()
	f := strings.Fields(s)
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(s), Size: int64(len(s))}
	if f[0] == "x" {
		return d
	}
	p, err := spec.ParseIndexPlatform("linux/" + f[1])
	if err != nil {
		t.Fatal(err)
	}
	d.Platform = p.OCI()
	switch f[0] {
	case "c":
		d.Annotations = map[string]string{"disktype": "container"}
	case "n":
		d.Annotations = map[string]string{"disktype": "netboot", spec.LabelVersion: "1"}
	case "a":
		d.ArtifactType = spec.ArtifactType
		d.Annotations = map[string]string{"disktype": "netboot", spec.LabelVersion: "1"}
	}
	return d
}

func wishFor(t testing.TB, s string, asked bool) wish {
	t.Helper()
	d := short(t, s)
	tag, err := childTag("v", d, defaultKeys())
	if err != nil {
		t.Fatal(err)
	}
	return wish{tag: tag, entry: d, keys: defaultKeys(), asked: asked}
}

func documentOf(t testing.TB, entries []string) *ociindex.Document {
	t.Helper()
	doc := ociindex.New(nil)
	for _, s := range entries {
		var err error
		if doc, err = doc.Insert(doc.Len(), short(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

// names gives the entries of an index in short.
func names(doc *ociindex.Document, known []string) []string {
	var all []string
	for i := range doc.Len() {
		d, _ := doc.Entry(i)
		j := slices.IndexFunc(known, func(s string) bool { return digest.FromString(s) == d.Digest })
		if j < 0 {
			all = append(all, d.Digest.String())
			continue
		}
		all = append(all, known[j])
	}
	return all
}

func TestCompute(t *testing.T) {
	for _, test := range []struct {
		name             string
		have, live, dead []string
		lost, past       []string
		want             []string
		err              bool
	}{
		{name: "nothing"},
		{name: "first", live: []string{"n amd64 1"}, want: []string{"n amd64 1"}},
		{name: "containers first, images, artifacts", live: []string{"a arm64 1", "n amd64 1", "a amd64 1", "c amd64 1"},
			want: []string{"c amd64 1", "n amd64 1", "a amd64 1", "a arm64 1"}},
		{name: "a container before what is none", have: []string{"- s390x 1", "a amd64 1", "x 1"}, live: []string{"c amd64 2"},
			want: []string{"- s390x 1", "c amd64 2", "a amd64 1", "x 1"}},
		{name: "an image behind all containers", have: []string{"a amd64 1", "- amd64 1", "a arm64 2"}, live: []string{"n amd64 2"},
			want: []string{"a amd64 1", "- amd64 1", "n amd64 2", "a arm64 2"}},
		{name: "an artifact last", have: []string{"n amd64 1", "- amd64 1"}, live: []string{"a arm64 1"},
			want: []string{"n amd64 1", "- amd64 1", "a arm64 1"}},
		{name: "replaced in its place", have: []string{"n amd64 1", "n arm64 1", "n s390x 1"}, live: []string{"n arm64 2"},
			want: []string{"n amd64 1", "n arm64 2", "n s390x 1"}},
		{name: "an image is not an artifact, nor a container", have: []string{"- amd64 1"}, live: []string{"a amd64 1", "n amd64 1"},
			want: []string{"- amd64 1", "n amd64 1", "a amd64 1"}},
		{name: "arm/v6 is not arm/v7", have: []string{"n arm/v6 1"}, live: []string{"n arm/v7 1"}, want: []string{"n arm/v6 1", "n arm/v7 1"}},
		{name: "ours moves behind a later container", have: []string{"n amd64 1", "a amd64 1", "- amd64 1", "- arm64 1"}, live: []string{"n amd64 1"},
			want: []string{"a amd64 1", "- amd64 1", "n amd64 1", "- arm64 1"}},
		{name: "foreign ones do not move", have: []string{"n amd64 1", "- amd64 1"}, want: []string{"n amd64 1", "- amd64 1"}},
		{name: "behind containers of other variants", have: []string{"n arm/v6 1", "- arm/v7 1"}, live: []string{"n arm/v6 1"}, want: []string{"- arm/v7 1", "n arm/v6 1"}},
		{name: "removed", have: []string{"n amd64 1", "n arm64 1"}, dead: []string{"n amd64 1"}, want: []string{"n arm64 1"}},
		{name: "removed and built again", have: []string{"n amd64 1"}, dead: []string{"n amd64 1"}, live: []string{"n amd64 1"}, want: []string{"n amd64 1"}},
		{name: "removed and built anew", have: []string{"n amd64 1"}, dead: []string{"n amd64 1"}, live: []string{"n amd64 2"}, want: []string{"n amd64 2"}},
		{name: "put back behind its predecessor", past: []string{"- amd64 1", "x 1", "a amd64 1"}, have: []string{"- amd64 1", "n s390x 1", "a amd64 1"}, lost: []string{"x 1"},
			want: []string{"- amd64 1", "x 1", "n s390x 1", "a amd64 1"}},
		{name: "put back in front", past: []string{"x 1", "x 2", "a amd64 1"}, have: []string{"a amd64 1"}, lost: []string{"x 1", "x 2"},
			want: []string{"x 1", "x 2", "a amd64 1"}},
		{name: "what a child replaced is not put back", past: []string{"n amd64 1"}, lost: []string{"n amd64 1"}, live: []string{"n amd64 2"}, want: []string{"n amd64 2"}},
		{name: "what was removed is not put back", past: []string{"x 1"}, lost: []string{"x 1"}, dead: []string{"x 1"}},
		{name: "two candidates for what the user wants", have: []string{"n amd64 1", "n amd64 2"}, live: []string{"n amd64 1 asked"}, err: true},
		{name: "two candidates for what others want", have: []string{"n amd64 1", "n amd64 2"}, live: []string{"n amd64 3"}, want: []string{"n amd64 1", "n amd64 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			past := &history{}
			past.note(documentOf(t, test.past))
			wanted := target{index: "v", past: past, log: t.Logf}
			known := slices.Concat(test.have, test.past, test.want)
			for _, s := range test.live {
				s, asked := strings.CutSuffix(s, " asked")
				wanted.live = append(wanted.live, wishFor(t, s, asked))
				known = append(known, s)
			}
			for _, s := range test.dead {
				wanted.dead = append(wanted.dead, short(t, s))
			}
			for _, s := range test.lost {
				d := short(t, s)
				wanted.lost = append(wanted.lost, seenEntry{keyOf(d), d, mustJSON2(t, d)})
			}
			doc := documentOf(t, test.have)
			e, err := compute(doc, wanted)
			if test.err {
				if err == nil {
					t.Errorf("gives %q", names(e.doc, known))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := names(e.doc, known); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			wanted.lost = nil
			again, err := compute(e.doc, wanted)
			if err != nil || !bytes.Equal(again.doc.Bytes(), e.doc.Bytes()) || len(again.changes) > 0 {
				t.Errorf("once more gives %s, %+v, %v", again.doc.Bytes(), again.changes, err)
			}
		})
	}
}

func mustJSON2(t testing.TB, v any) []byte {
	b, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzCompute has random indexes and children: the result is a fixed point, has
// every child once, every foreign entry as it was and in its order, and no
// child of ours before a container of its platform.
func FuzzCompute(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{4, 5})
	f.Add([]byte{0, 17, 34, 51, 9}, []byte{0, 2, 8, 99})
	arches := []string{"amd64", "arm64", "arm/v6", "arm/v7"}
	entry := func(b byte, mark string) string {
		return fmt.Sprintf("%c %s %s%d", "cna-"[b%4], arches[b/4%4], mark, b/16)
	}
	f.Fuzz(func(t *testing.T, have, live []byte) {
		if len(have) > 12 || len(live) > 12 {
			return
		}
		var foreign []string
		for i, b := range have {
			foreign = append(foreign, entry(b, fmt.Sprintf("f%d-", i)))
		}
		wanted := target{index: "v", past: &history{}, log: func(string, ...any) {}}
		seen := map[string]bool{}
		for _, b := range live {
			w := wishFor(t, entry(b%3+b/4*4, "w"), false)
			if !seen[w.tag] {
				seen[w.tag] = true
				wanted.live = append(wanted.live, w)
			}
		}
		doc := documentOf(t, foreign)
		e, err := compute(doc, wanted)
		if err != nil {
			t.Fatal(err)
		}
		again, err := compute(e.doc, wanted)
		if err != nil || !bytes.Equal(again.doc.Bytes(), e.doc.Bytes()) {
			t.Fatalf("not a fixed point: %v\n%s\n%s", err, e.doc.Bytes(), again.doc.Bytes())
		}
		checkComputed(t, doc, e.doc, &wanted)
	})
}

func checkComputed(t *testing.T, before, after *ociindex.Document, wanted *target) {
	t.Helper()
	var kept []string
	for i := range before.Len() {
		d, raw := before.Entry(i)
		if !wanted.covers(d) {
			kept = append(kept, string(raw))
		}
	}
	var have []string
	for i := range after.Len() {
		d, raw := after.Entry(i)
		if !wanted.covers(d) {
			have = append(have, string(raw))
		}
		if wanted.wants(d) && behind(after, i) >= 0 {
			t.Errorf("entry %d stands before a container of its platform: %s", i, after.Bytes())
		}
	}
	if !slices.Equal(kept, have) {
		t.Errorf("foreign entries were %q, are %q", kept, have)
	}
	for _, w := range wanted.live {
		n := 0
		for i := range after.Len() {
			if d, _ := after.Entry(i); wanted.alike(d, w) {
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s is missing: %s", w.tag, after.Bytes())
		}
	}
}

// TestChildTag: every identity has one tag, and no other identity has it.
func TestChildTag(t *testing.T) {
	entry := func(platform, disk, artifactType string) ocispec.Descriptor {
		d := ocispec.Descriptor{ArtifactType: artifactType}
		if platform != "" {
			p, err := spec.ParseIndexPlatform(platform)
			if err != nil {
				t.Fatal(err)
			}
			d.Platform = p.OCI()
		}
		if disk != "" {
			d.Annotations = map[string]string{"disktype": disk}
		}
		return d
	}
	seen := map[string]string{}
	for _, test := range []struct {
		platform, disk, artifactType string
		want                         string // "…-*" stands for a hash
	}{
		{"linux/amd64", "netboot", "", "v-amd64"},
		{"linux(v)/arm64", "netboot", "", "v-arm64"},
		{"linux(w)/arm64", "netboot", "", "v-arm64-*"},
		{"linux/arm/v6", "netboot", "", "v-armv6"},
		{"linux/arm/v7", "netboot", "", "v-armv7"},
		{"linux/amd64", "netboot", spec.ArtifactType, "v-amd64-artifact"},
		{"linux/amd64", "netboot", "application/other", "v-amd64-*"},
		{"linux/amd64", "kernel", spec.FileArtifactType, "v-amd64-kernel"},
		{"linux/amd64", "ramdisk", spec.FileArtifactType, "v-amd64-ramdisk"},
		{"linux/amd64", "qcow2", spec.FileArtifactType, "v-amd64-qcow2"},
		{"linux/amd64", "qcow2", "application/other", "v-amd64-qcow2-*"},
		{"linux/amd64", "raw", spec.FileArtifactType, "v-amd64-raw"},
		{"linux/amd64", "container", "", "v-amd64-container"},
		{"windows/amd64", "container", "", "v-amd64-container-*"},
		{"linux/amd64", "artifact", spec.ArtifactType, "v-amd64-entry-*"},
		{"linux/amd64", "odd word", "", "v-amd64-entry-*"},
		{"linux/amd64", "", "", "v-amd64-entry-*"},
		{"", "container", "", "v-entry-*"},
	} {
		d := entry(test.platform, test.disk, test.artifactType)
		got, err := childTag("v", d, defaultKeys())
		if err != nil {
			t.Error(err)
		}
		want, hashed := strings.CutSuffix(test.want, "*")
		if !hashed && got != want || hashed && (!strings.HasPrefix(got, want) || len(got) != len(want)+12) {
			t.Errorf("%+v has the tag %q, want %q", test, got, test.want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q is the tag of %+v and of %s", got, test, other)
		}
		seen[got] = fmt.Sprintf("%+v", test)
	}
	d := entry("linux/amd64", "container", "")
	d.Annotations["cname"] = "x"
	if got, err := childTag("v", d, []string{"cname"}); err != nil || !strings.HasPrefix(got, "v-amd64-container-") {
		t.Errorf("with another identity %q, %v", got, err)
	}
	if got, err := childTag(strings.Repeat("v", 125), d, defaultKeys()); err == nil {
		t.Errorf("%q is too long", got)
	}
}
