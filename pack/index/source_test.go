package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeSource is one tag of a fakeRepo.
type fakeSource struct {
	*fakeRepo
	tag string
}

func (s fakeSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	d, _, err := s.Get(ctx, s.tag)
	return d, err
}

func (s fakeSource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	d, body, err := s.Get(ctx, d.Digest.String())
	return body, d.MediaType, err
}

func (fakeSource) Usage() transport.Usage { return transport.Usage{} }
func (fakeSource) Scheme() string         { return "" }
func (fakeSource) Close() error           { return nil }

// image puts an image with this config under a tag.
func (f *fakeRepo) image(tag string, config ocispec.Image, edit func(*ocispec.Manifest)) ocispec.Descriptor {
	f.t.Helper()
	raw := mustJSON(f.t, config)
	f.mu.Lock()
	f.blobs[digest.FromBytes(raw)] = raw
	f.mu.Unlock()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(tag), Size: 3}},
	}
	if edit != nil {
		edit(&m)
	}
	return f.set(tag, ocispec.MediaTypeImageManifest, mustJSON(f.t, m))
}

func configFor(platform string) ocispec.Image {
	p, err := spec.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	return ocispec.Image{Platform: *p.OCI()}
}

// artifact makes an image an artifact.
func artifact(artifactType string, layers ...ocispec.Descriptor) func(*ocispec.Manifest) {
	return func(m *ocispec.Manifest) {
		m.ArtifactType, m.Layers = artifactType, layers
		m.Config = ocispec.DescriptorEmptyJSON
	}
}

func titled(mediaType, title string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(title), Size: 5, Annotations: map[string]string{ocispec.AnnotationTitle: title}}
}

// TestEntryOfSource says what the entry of each kind of content looks like.
func TestEntryOfSource(t *testing.T) {
	netboot := configFor("linux/arm64")
	netboot.Config.Labels = map[string]string{spec.LabelVersion: "1", spec.LabelOSName: "demo", spec.LabelOSVersion: "7"}
	amd64 := spec.Platform{OS: "linux", Architecture: "amd64"}
	for _, test := range []struct {
		name   string
		config ocispec.Image
		edit   func(*ocispec.Manifest)
		o      AddOptions
		want   string // artifactType, platform, annotations
		tag    string
		kind   Kind
	}{
		{name: "container", config: configFor("linux/arm/v7"), want: `"" linux/arm/v7 map[disktype:container]`, tag: "v1-armv7-container", kind: KindContainer},
		{name: "container without disktype", config: configFor("amd64"), o: AddOptions{Annotations: map[string]string{"disktype": ""}},
			want: `"" linux/amd64 map[]`, tag: "v1-amd64-entry-", kind: KindContainer},
		{name: "container for a given platform", config: configFor("arm64"), o: AddOptions{Platform: amd64}, want: `"" linux/amd64 map[disktype:container]`, tag: "v1-amd64-container", kind: KindContainer},
		{name: "netboot image of podman", config: netboot, want: `"" linux(demo-7)/arm64 map[disktype:netboot org.pulpproject.netboot.version:1]`, tag: "v1-arm64-", kind: KindNetboot},
		{name: "netboot artifact", edit: func(m *ocispec.Manifest) {
			artifact(spec.ArtifactType, titled(spec.MediaTypeFile, "vmlinuz"), titled(spec.MediaTypeFile, "initrd"))(m)
			m.Annotations = map[string]string{spec.LabelOSArch: "armv7"}
		}, want: `"application/vnd.org.pulpproject.netboot.artifact.v1" linux/arm/v7 map[disktype:netboot org.pulpproject.netboot.version:1]`, tag: "v1-armv7-artifact", kind: KindNetbootArtifact},
		{name: "nboci", edit: func(m *ocispec.Manifest) {
			artifact("", titled(spec.MediaTypeFileZstd, "shim.efi"))(m)
			m.Config.MediaType = "application/vnd.unknown.config.v1+json"
			m.Annotations = map[string]string{spec.LabelOSArch: "x86_64", spec.LabelOSName: "demo", spec.LabelOSVersion: "7"}
		}, want: `"application/vnd.unknown.config.v1+json" linux(demo-7)/amd64 map[disktype:netboot org.opencontainers.image.title:shim.efi org.pulpproject.netboot.version:1]`, tag: "v1-amd64-", kind: KindNetbootArtifact},
		{name: "single file", edit: func(m *ocispec.Manifest) {
			artifact(spec.FileArtifactType, titled(spec.MediaTypeFile, "vmlinuz"))(m)
			m.Annotations = map[string]string{"disktype": "kernel"}
		}, o: AddOptions{Platform: amd64}, want: `"application/vnd.org.pulpproject.netboot.file.v1" linux/amd64 map[disktype:kernel org.opencontainers.image.title:vmlinuz]`, tag: "v1-amd64-kernel", kind: KindFile},
		{name: "disk of oras", edit: artifact("application/vnd.example.disk", titled("application/octet-stream", "disk.qcow2")),
			o:    AddOptions{Platform: amd64, Annotations: map[string]string{"disktype": "qcow2", "x": "y"}},
			want: `"application/vnd.example.disk" linux/amd64 map[disktype:qcow2 org.opencontainers.image.title:disk.qcow2 x:y]`, tag: "v1-amd64-qcow2-", kind: KindFile},
		{name: "disk of oras with the usual type", edit: artifact("application/vnd.example.disk", titled("application/octet-stream", "disk.raw")),
			o:    AddOptions{Platform: amd64, ArtifactType: text(spec.FileArtifactType), Annotations: map[string]string{"disktype": "raw"}},
			want: `"application/vnd.org.pulpproject.netboot.file.v1" linux/amd64 map[disktype:raw org.opencontainers.image.title:disk.raw]`, tag: "v1-amd64-raw", kind: KindFile},
		{name: "unknown artifact", edit: artifact("application/vnd.example.chart", titled("application/tar", "a"), titled("application/tar", "b")),
			o: AddOptions{Platform: amd64}, want: `"application/vnd.example.chart" linux/amd64 map[disktype:artifact]`, tag: "v1-amd64-entry-", kind: KindArtifact},
		{name: "another identity", edit: func(m *ocispec.Manifest) {
			artifact("application/vnd.example.chart", titled("application/tar", "a"), titled("application/tar", "b"))(m)
			m.Annotations = map[string]string{"cname": "kvm", "other": "x"}
		}, o: AddOptions{Platform: amd64, Identity: []string{"cname"}}, want: `"application/vnd.example.chart" linux/amd64 map[cname:kvm disktype:artifact]`, tag: "v1-amd64-entry-", kind: KindArtifact},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, dst := newFakeRepo(t), newFakeRepo(t)
			want := f.image("x", test.config, test.edit)
			test.o.Options = quick(t)
			res, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{f, "x"}}}, test.o)
			if err != nil {
				t.Fatal(err)
			}
			entries := entriesOf(t, dst.body("v1"))
			if len(entries) != 1 || entries[0].Digest != want.Digest || entries[0].Size != want.Size || entries[0].MediaType != want.MediaType {
				t.Fatalf("entries %+v, want one for %+v", entries, want)
			}
			if got := describe(entries[0]); got != test.want {
				t.Errorf("entry %s, want %s", got, test.want)
			}
			tag := res.Changes[0].Tag
			if !strings.HasPrefix(tag, test.tag) || !strings.HasSuffix(test.tag, "-") && tag != test.tag {
				t.Errorf("child tag %q, want %q", tag, test.tag)
			}
			if kid := entriesOf(t, dst.body(tag)); len(kid) != 1 || !sameEntry(kid[0], entries[0]) {
				t.Errorf("the child tag names %s", dst.body(tag))
			}
			if strings.Contains(string(dst.body("v1")), "null") {
				t.Errorf("null in %s", dst.body("v1"))
			}
			maps.Copy(dst.blobs, f.blobs)
			l, err := Show(t.Context(), dst, "v1", quick(t))
			if err != nil || len(l.Entries) != 1 || l.Entries[0].Kind != test.kind || l.Entries[0].Tag != tag {
				t.Errorf("shown as %+v, %v; want %s", l, err, test.kind)
			}
			again, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{f, "x"}}}, test.o)
			if err != nil || again.Changed || again.Digest != res.Digest {
				t.Errorf("the second time %+v, %v", again, err)
			}
		})
	}
}

func describe(d ocispec.Descriptor) string {
	var s strings.Builder
	s.WriteString(`"` + d.ArtifactType + `" ` + platformString(d.Platform) + " map[")
	for i, k := range slices.Sorted(maps.Keys(d.Annotations)) {
		if i > 0 {
			s.WriteString(" ")
		}
		s.WriteString(k + ":" + d.Annotations[k])
	}
	return s.String() + "]"
}

// indexSource is an index of two containers and an attestation, and one more
// container below a nested index.
func indexSource(t *testing.T) *fakeRepo {
	f := newFakeRepo(t)
	doc := ociindex.New(nil)
	put := func(doc *ociindex.Document, d ocispec.Descriptor, platform *ocispec.Platform, notes map[string]string) *ociindex.Document {
		d.Platform, d.Annotations = platform, notes
		doc, err := doc.Insert(doc.Len(), d)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	linux := func(arch string) *ocispec.Platform { return &ocispec.Platform{OS: "linux", Architecture: arch} }
	doc = put(doc, f.image("a", configFor("amd64"), nil), linux("amd64"), nil)
	doc = put(doc, f.image("b", configFor("arm64"), nil), &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, map[string]string{"note": "kept", ocispec.AnnotationRefName: "dropped"})
	doc = put(doc, f.image("c", ocispec.Image{}, nil), &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{annotationReference: "sha256:a"})
	doc = put(doc, f.image("c2", ocispec.Image{}, nil), &ocispec.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{annotationReference: "sha256:b"})
	inner := put(ociindex.New(nil), f.image("d", configFor("s390x"), nil), linux("s390x"), nil)
	nested := f.set("", ocispec.MediaTypeImageIndex, inner.Bytes())
	doc = put(doc, nested, nil, nil)
	f.set("x", ocispec.MediaTypeImageIndex, doc.Bytes())
	return f
}

func TestAddFromIndex(t *testing.T) {
	arm64, _ := spec.ParsePlatform("arm64")
	s390x, _ := spec.ParsePlatform("s390x")
	for _, test := range []struct {
		name string
		o    AddOptions
		want []string
	}{
		{"one", AddOptions{Platform: arm64}, []string{`"" linux/arm64 map[disktype:container note:kept]`}},
		{"nested", AddOptions{Platform: s390x}, []string{`"" linux/s390x map[disktype:container]`}},
		{"all", AddOptions{All: true}, []string{
			`"" linux/amd64 map[disktype:container]`, `"" linux/arm64 map[disktype:container note:kept]`, `"" linux/s390x map[disktype:container]`,
			`"" unknown/unknown map[disktype:attestation vnd.docker.reference.digest:sha256:a]`, `"" unknown/unknown map[disktype:attestation vnd.docker.reference.digest:sha256:b]`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := newFakeRepo(t)
			test.o.Options = quick(t)
			if _, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{indexSource(t), "x"}}}, test.o); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range entriesOf(t, dst.body("v1")) {
				got = append(got, describe(d))
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestAddRefuses lists wishes that cannot be granted, and that leave nothing.
func TestAddRefuses(t *testing.T) {
	riscv64, _ := spec.ParsePlatform("riscv64")
	single := func(f *fakeRepo) { f.image("v1", configFor("amd64"), nil) }
	for _, test := range []struct {
		name    string
		source  func(f *fakeRepo)
		prepare func(f *fakeRepo)
		o       AddOptions
		code    int
	}{
		{name: "an index without choice", source: func(f *fakeRepo) { *f = *indexSource(t) }, code: 2},
		{name: "no such platform", source: func(f *fakeRepo) { *f = *indexSource(t) }, o: AddOptions{Platform: riscv64}, code: 4},
		{name: "an artifact without a platform", source: func(f *fakeRepo) {
			f.image("x", ocispec.Image{}, artifact("a/b", titled("a/b", "x")))
		}, code: 2},
		{name: "an identity that it lacks", o: AddOptions{Identity: []string{"cname"}}, code: 2},
		{name: "a single image", prepare: single, code: 2},
		{name: "a docker list", prepare: func(f *fakeRepo) {
			f.set("v1", "application/vnd.docker.distribution.manifest.list.v2+json", []byte(`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}`))
		}, o: AddOptions{Options: Options{Wrap: true}}, code: 3},
		{name: "a child tag", prepare: func(f *fakeRepo) {
			f.set("v1", ocispec.MediaTypeImageManifest, childOf(t, "v", "linux/amd64", "x"))
			f.blobs[digest.FromString("config x")] = []byte("{}")
		}, o: AddOptions{Options: Options{Wrap: true}}, code: 2},
		{name: "a child index", prepare: func(f *fakeRepo) {
			f.set("v1", ocispec.MediaTypeImageIndex, ociindex.New(map[string]string{spec.AnnotationIndexTag: "v"}).Bytes())
		}, code: 2},
		{name: "two candidates", prepare: func(f *fakeRepo) {
			d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("1"), Size: 1, Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}, Annotations: map[string]string{"disktype": "container"}}
			doc, _ := ociindex.New(nil).Insert(0, d)
			d.Digest = digest.FromString("2")
			doc, _ = doc.Insert(1, d)
			f.set("v1", ocispec.MediaTypeImageIndex, doc.Bytes())
		}, code: 2},
		{name: "a tag that is too long", code: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			src, dst, tag := newFakeRepo(t), newFakeRepo(t), "v1"
			src.image("x", configFor("amd64"), nil)
			if test.source != nil {
				test.source(src)
			}
			if test.prepare != nil {
				test.prepare(dst)
			}
			if test.name == "a tag that is too long" {
				tag = strings.Repeat("v", 120)
			}
			before := maps.Clone(dst.tags)
			test.o.Sleep, test.o.Log = quick(t).Sleep, quick(t).Log
			_, err := AddSources(t.Context(), dst, tag, []Source{{"x", fakeSource{src, "x"}}}, test.o)
			var coded interface{ ExitCode() int }
			if !errors.As(err, &coded) || coded.ExitCode() != test.code {
				t.Errorf("error %v, want exit code %d", err, test.code)
			}
			t.Log(err)
			if now := maps.Clone(dst.tags); test.name != "two candidates" && !maps.Equal(now, before) {
				t.Errorf("tags %v, before %v", now, before)
			}
		})
	}
}

// TestReplaceForeignEntry replaces the entry of a foreign tool, told apart by an
// annotation of that tool, in its place, and leaves all other bytes alone.
func TestReplaceForeignEntry(t *testing.T) {
	src, dst := newFakeRepo(t), newFakeRepo(t)
	want := src.image("x", ocispec.Image{}, func(m *ocispec.Manifest) {
		artifact("", titled("application/io.gardenlinux.kernel", "vmlinuz"))(m)
		m.Config.MediaType = "application/vnd.unknown.config.v1+json"
		m.Annotations = map[string]string{"cname": "kvm-amd64", "version": "1592.1"}
	})
	dst.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	o := AddOptions{
		Options: quick(t), Platform: platform(t, "gardenlinux(1592.1)/amd64"), Identity: []string{"cname"}, ArtifactType: text(""),
		Annotations: map[string]string{"disktype": "", ocispec.AnnotationTitle: ""},
	}
	r, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{src, "x"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	entries := foreignEntries(t)
	_, rest, _ := strings.Cut(string(foreignIndex(t)), entries[1])
	first, _, _ := strings.Cut(string(foreignIndex(t)), entries[1])
	entry := string(mustJSON(t, entriesOf(t, dst.body("v1"))[1]))
	if got := string(dst.body("v1")); got != first+entry+rest {
		t.Errorf("index\n%s\nwant\n%s", got, first+entry+rest)
	}
	if entry != `{"mediaType":"`+want.MediaType+`","digest":"`+want.Digest.String()+`","size":`+fmt.Sprint(want.Size)+
		`,"annotations":{"cname":"kvm-amd64"},"platform":{"architecture":"amd64","os":"gardenlinux","os.version":"1592.1"}}` {
		t.Errorf("entry %s", entry)
	}
	if len(r.Changes) != 1 || r.Changes[0].Action != Replaced {
		t.Errorf("changes %+v", r.Changes)
	}
	if r, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{src, "x"}}}, o); err != nil || r.Changed {
		t.Errorf("the second time %+v, %v", r, err)
	}
}

func TestSameEntryTwiceIsRefused(t *testing.T) {
	src, dst := newFakeRepo(t), newFakeRepo(t)
	src.image("x", configFor("amd64"), nil)
	src.image("y", configFor("amd64"), nil)
	_, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{src, "x"}}, {"y", fakeSource{src, "y"}}}, AddOptions{Options: quick(t)})
	var use *usageError
	if !errors.As(err, &use) || len(dst.tags) > 0 {
		t.Errorf("error %v, tags %v", err, dst.tags)
	}
}

func TestWrap(t *testing.T) {
	f := newFakeRepo(t)
	single := f.image("v1", configFor("linux/arm/v6"), nil)
	o := quick(t)
	o.Wrap = true
	r, err := AddChildren(t.Context(), f, "v1", []ocispec.Descriptor{f.push("v1", "linux/arm/v6", "a")}, o)
	if err != nil {
		t.Fatal(err)
	}
	got := entriesOf(t, f.body("v1"))
	if len(got) != 2 || got[0].Digest != single.Digest || describe(got[0]) != `"" linux/arm/v6 map[disktype:container]` || rankOf(got[1]) != rankImage {
		t.Errorf("entries %+v", got)
	}
	if r.Changes[0].Action != Wrapped || !r.Changed {
		t.Errorf("changes %+v", r.Changes)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	src, dst := newFakeRepo(t), newFakeRepo(t)
	src.image("x", configFor("amd64"), nil)
	dst.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	dst.before = func(op string) error {
		if op == "copy" || strings.HasPrefix(op, "put") {
			t.Errorf("%s in a dry run", op)
		}
		return nil
	}
	o := AddOptions{Options: quick(t)}
	o.DryRun = true
	dry, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{src, "x"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Remove(t.Context(), dst, "v1", RemoveOptions{Options: o.Options, Digest: entriesOf(t, foreignIndex(t))[0].Digest})
	if err != nil {
		t.Fatal(err)
	}
	dst.before = nil
	o.DryRun = false
	wet, err := AddSources(t.Context(), dst, "v1", []Source{{"x", fakeSource{src, "x"}}}, o)
	a, _ := json.Marshal(dry)
	b, _ := json.Marshal(wet)
	if err != nil || string(a) != string(b) {
		t.Errorf("the dry run says %s\nthe run %s, %v", a, b, err)
	}
}
