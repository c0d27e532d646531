package pack

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// attachTo builds into a new layout and attaches everything. It gives the
// statement and the list of files, too.
func attachTo(t *testing.T, o Options) (transport.Reference, *Statement, *SBOM) {
	t.Helper()
	o.Describe = true
	if o.Client == nil {
		o.Client = newClient(t)
	}
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	dst := transport.Reference{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "layout"), Tag: "test"}
	results, err := Build(t.Context(), o.Client, plan, dst)
	if err == nil {
		_, err = Attach(t.Context(), o.Client, []*Plan{plan}, dst, results, AttachOptions{Provenance: true, SBOM: true, Tool: "v1"})
	}
	if err != nil {
		t.Fatal(err)
	}
	src, err := o.Client.Source(t.Context(), dst)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	list, err := Referrers(t.Context(), src, results[0].Digest)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d referrers, %v", len(list), err)
	}
	var s *Statement
	var b *SBOM
	for _, r := range list {
		if r.Problem != "" {
			t.Error(r.Problem)
		}
		if r.Provenance != nil {
			s = r.Provenance
		}
		if r.SBOM != nil {
			b = r.SBOM
		}
	}
	return dst, s, b
}

// rebuildFrom builds again what a layout has.
func rebuildFrom(t *testing.T, ref transport.Reference, o RebuildOptions) (Rebuilt, error) {
	t.Helper()
	o.Client = newClient(t)
	src, err := o.Client.Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	done, err := Rebuild(t.Context(), src, o)
	if err != nil {
		return Rebuilt{}, err
	}
	return done[0], nil
}

func proves(t *testing.T, ref transport.Reference, o RebuildOptions) {
	t.Helper()
	r, err := rebuildFrom(t, ref, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same || r.Rebuilt != r.Digest {
		t.Errorf("rebuilt as %s: %q", r.Rebuilt, r.Differences)
	}
}

// moved puts a file or directory into a directory of its own.
func moved(t *testing.T, from, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Rename(from, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestRebuildDirectory: found under its name, as it is, and when it has changed.
func TestRebuildDirectory(t *testing.T) {
	dir := writeTree(t, filepath.Join(t.TempDir(), "tree"), append(bootTree(), "skip/me=x")...)
	at := time.Unix(1700000000, 0)
	o := amd64(dir)
	o.ModTime, o.Exclude, o.Rename = &at, []string{"skip", "/vmlinuz", "latest"}, map[string]string{"images": "linux"}
	o.Labels, o.Annotations = map[string]string{"l": "1"}, map[string]string{"a": "2"}
	ref, s, _ := attachTo(t, o)
	if n := len(s.Predicate.BuildDefinition.ResolvedDependencies); n != 1 {
		t.Errorf("%d dependencies", n)
	}
	proves(t, ref, RebuildOptions{SourceDirs: []string{dir}})
	proves(t, ref, RebuildOptions{SourceDirs: []string{filepath.Dir(dir)}})
	dir = filepath.Join(moved(t, dir, "other"), "other")
	proves(t, ref, RebuildOptions{SourceDirs: []string{dir}})

	writeTree(t, dir, "images/vmlinuz=another", "new=1")
	if err := os.Remove(filepath.Join(dir, "pxelinux.0")); err != nil {
		t.Fatal(err)
	}
	r, err := rebuildFrom(t, ref, RebuildOptions{SourceDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(r.Differences, "\n")
	for _, want := range []string{`file "linux/vmlinuz" has the SHA-256`, `file "new" is new`, `file "pxelinux.0" is missing`} {
		if r.Same || !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if !r.Found[0].Changed {
		t.Error("the change of the source is not told")
	}
	_, err = rebuildFrom(t, ref, RebuildOptions{SourceDirs: []string{t.TempDir(), t.TempDir()}})
	var missing *notFound
	if !errors.As(err, &missing) || missing.ExitCode() != 4 {
		t.Error(err)
	}
}

// TestRebuildPackages: files are found whatever they are called now, and what the
// publisher vouches for is in the image again, though the key has ended since.
func TestRebuildPackages(t *testing.T) {
	at := t.TempDir()
	tree := writeTree(t, t.TempDir(), bootTree()...)
	deb := debOf(t, "Package: boot\nVersion: 1:2+b1\nArchitecture: amd64\n", tarTree(t, tree))
	writeFile(t, filepath.Join(at, "boot_2_amd64.deb"), deb)
	writeTree(t, at, "extra.img=extra")
	p := newPublisher(t)
	list := hexSum(string(deb)) + "  pool/boot_2_amd64.deb\n"
	writeTree(t, at, "sums/SHA256SUMS="+list, "sums/SHA256SUMS.gpg="+p.detached(t, list))
	o := amd64(filepath.Join(at, "boot_2_amd64.deb"), "file:"+filepath.Join(at, "extra.img"))
	o.OSName = "debian"
	o.Checksums, o.Keyrings = []string{filepath.Join(at, "sums/SHA256SUMS.gpg")}, []string{p.keyring}
	o.Pins = map[string]string{"file:" + filepath.Join(at, "extra.img"): hexSum("extra")}
	ref, s, b := attachTo(t, o)
	if versionOf(t, ref) == "" {
		t.Error("there is no file VERSION")
	}
	deps := s.Predicate.BuildDefinition.ResolvedDependencies
	if len(deps) != 5 || deps[0].Notes.Verified != deps[0].Notes.Files || deps[0].Digest["sha256"] != hexSum(string(deb)) ||
		strings.Join(deps[0].Notes.VerifiedBy, " ") != "SHA256SUMS" || deps[0].Notes.Packages[0] != "boot 1:2+b1" {
		t.Errorf("dependencies %+v", deps)
	}
	if deps[3].Name != "SHA256SUMS" || deps[3].Notes.SignedBy != p.fingerprint() {
		t.Errorf("checksums %+v", deps[3])
	}
	if len(b.Packages) != 2 || b.Packages[1].ExternalRefs[0].Locator != "pkg:deb/debian/boot@1:2%2Bb1" {
		t.Errorf("packages %+v", b.Packages)
	}

	there := filepath.Dir(p.keyring)
	dirs := []string{moved(t, filepath.Join(at, "boot_2_amd64.deb"), "0"), moved(t, filepath.Join(at, "extra.img"), "1"), there, moved(t, filepath.Join(at, "sums"), "x")}
	proves(t, ref, RebuildOptions{SourceDirs: dirs})

	// Another package of that name.
	other := t.TempDir()
	writeTree(t, tree, "images/vmlinuz=newer")
	writeFile(t, filepath.Join(other, "boot_2_amd64.deb"), debOf(t, "Package: boot\nVersion: 3\nArchitecture: amd64\n", tarTree(t, tree)))
	dirs[0] = other
	_, err := rebuildFrom(t, ref, RebuildOptions{SourceDirs: dirs})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Rule != ruleSourceSum {
		t.Errorf("a package that the list does not name: %v", err)
	}
}

// TestRebuildFetched: what was fetched is found on disk, or fetched if that is
// allowed, and refused if it is another by now.
func TestRebuildFetched(t *testing.T) {
	tree := writeTree(t, t.TempDir(), bootTree()...)
	body := tarTree(t, tree)
	served := body
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(served) }))
	defer s.Close()
	o := amd64(s.URL + "/pub/boot.tar?token=secret")
	yes := true
	o.PlainHTTP, o.VersionFile = true, &yes
	ref, st, _ := attachTo(t, o)
	if uri := st.Predicate.BuildDefinition.ResolvedDependencies[0].URI; uri != s.URL+"/pub/boot.tar" {
		t.Errorf("uri %q", uri)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "saved"), body)
	proves(t, ref, RebuildOptions{SourceDirs: []string{dir}})
	proves(t, ref, RebuildOptions{Fetch: true, PlainHTTP: true})
	_, err := rebuildFrom(t, ref, RebuildOptions{})
	var missing *notFound
	if !errors.As(err, &missing) || !strings.Contains(missing.Hint(), "--fetch") {
		t.Errorf("without leave to fetch: %v", err)
	}
	served = bytes.Replace(body, []byte("kernel"), []byte("k3rnel"), 1)
	if _, err = rebuildFrom(t, ref, RebuildOptions{Fetch: true, PlainHTTP: true}); !errors.As(err, new(*spec.Refusal)) {
		t.Errorf("other content: %v", err)
	}
}

// TestRebuildImage: an image as a source is found in a layout below the
// directories, whatever that is called.
func TestRebuildImage(t *testing.T) {
	from, _ := buildInto(t, amd64(writeTree(t, t.TempDir(), bootTree()...)))
	o := amd64(from.String())
	yes := true
	o.VersionFile = &yes
	ref, s, _ := attachTo(t, o)
	if name := s.Predicate.BuildDefinition.ResolvedDependencies[0].Name; name != "oci:layout:test" {
		t.Errorf("name %q", name)
	}
	proves(t, ref, RebuildOptions{SourceDirs: []string{moved(t, from.Name, "else")}})
}

// TestAttachDeterministic: what is attached depends on nothing but the sources,
// and tells nothing about this machine.
func TestAttachDeterministic(t *testing.T) {
	var digests []string
	for range 2 {
		base := t.TempDir()
		o := amd64(writeTree(t, filepath.Join(base, "tree"), bootTree()...))
		ref, _, _ := attachTo(t, o)
		src, err := newClient(t).Source(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		d, err := src.Resolve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list, err := Referrers(t.Context(), src, d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			digests = append(digests, r.Digest.String())
			host, _ := os.Hostname()
			for _, secret := range []string{base, host + "\""} {
				if bytes.Contains(r.Document, []byte(secret)) {
					t.Errorf("%s tells %q", r.ArtifactType, secret)
				}
			}
		}
		_ = src.Close()
	}
	if digests[0] != digests[2] || digests[1] != digests[3] {
		t.Errorf("digests %q", digests)
	}
}

// TestDescribeChangesNothing: whether something is attached is no part of what is
// built.
func TestDescribeChangesNothing(t *testing.T) {
	o := amd64(writeFile(t, filepath.Join(t.TempDir(), "a.tar"), tarTree(t, writeTree(t, t.TempDir(), bootTree()...))))
	_, plain := buildInto(t, o)
	o.Describe = true
	if _, r := buildInto(t, o); r.Digest != plain.Digest {
		t.Errorf("%s and %s", r.Digest, plain.Digest)
	}
}

// TestRebuildPromisesNothing: a provenance that has no digest for what it names is
// refused, and nothing is looked for.
func TestRebuildPromisesNothing(t *testing.T) {
	dir := t.TempDir()
	ref, s, _ := attachTo(t, amd64(writeFile(t, filepath.Join(dir, "a.tar"), tarTree(t, writeTree(t, t.TempDir(), bootTree()...)))))
	s.Predicate.BuildDefinition.ResolvedDependencies[0].Digest = nil
	d := attachStatements(t, ref, s)[0]
	_, err := rebuildFrom(t, ref, RebuildOptions{SourceDirs: []string{dir}, Provenance: d})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || refusal.Rule != ruleProvenance {
		t.Error(err)
	}
}

// attachStatements attaches more statements to what a layout has.
func attachStatements(t *testing.T, ref transport.Reference, list ...*Statement) (digests []digest.Digest) {
	t.Helper()
	repo, err := newClient(t).Repository(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	subject, _, err := repo.Get(t.Context(), ref.Tag)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		a, err := newReferrer(subject, MediaTypeStatement, provenanceType, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := repo.PutReferrer(t.Context(), newAttached(a), a.Descriptor()); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, a.Descriptor().Digest)
	}
	return digests
}

// TestManyStatements: of those that others attach a bounded number is read, and the one
// that the user names in any case.
func TestManyStatements(t *testing.T) {
	dir := t.TempDir()
	ref, s, _ := attachTo(t, amd64(writeFile(t, filepath.Join(dir, "a.tar"), tarTree(t, writeTree(t, t.TempDir(), bootTree()...)))))
	var more []*Statement
	for i := range trust.MaxAttachments + 5 {
		other := *s
		other.Predicate.RunDetails.Builder = Builder{ID: fmt.Sprint(i)}
		more = append(more, &other)
	}
	digests := attachStatements(t, ref, more...)
	client := newClient(t)
	src, err := client.Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	top, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := Referrers(t.Context(), src, top.Digest)
	if err != nil || len(list) != len(more)+2 {
		t.Fatalf("%d referrers, %v", len(list), err)
	}
	read := 0
	for _, r := range list {
		if r.Document != nil {
			read++
		} else if r.Problem == "" {
			t.Errorf("%s is not read, and nobody says so", r.Digest)
		}
	}
	if read != trust.MaxAttachments {
		t.Errorf("%d documents are read", read)
	}
	last := slices.Max(digests) // they are read in this order
	proves(t, ref, RebuildOptions{SourceDirs: []string{dir}, Provenance: last})
}
