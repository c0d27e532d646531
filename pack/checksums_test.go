package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// publisher signs what the tests verify.
type publisher struct {
	key     *openpgp.Entity
	keyring string // file
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	key, err := openpgp.NewEntity("Archive", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := key.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return &publisher{key, filepath.Join(writeTree(t, t.TempDir(), "keys.gpg="+b.String()), "keys.gpg")}
}

func (p *publisher) fingerprint() string {
	return strings.ToUpper(hex.EncodeToString(p.key.PrimaryKey.Fingerprint))
}

func (p *publisher) detached(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.DetachSign(&b, []*openpgp.Entity{p.key}, strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (p *publisher) clear(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, p.key.PrivateKey, nil)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String() + "\n"
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// treeInfo covers kernel and initrd of a tree.
func treeInfo(kernel string) string {
	return "[release]\nname = Fedora\nversion = 42\n[tree]\narch = x86_64\n[checksums]\n" +
		"images/pxeboot/vmlinuz = sha256:" + hexSum(kernel) + "\nimages/pxeboot/initrd.img = sha256:" + hexSum("initrd") + "\n"
}

// fedoraTree is what .treeinfo tells about, and shim, which it does not.
func fedoraTree(t *testing.T, info string) string {
	return writeTree(t, t.TempDir(), ".treeinfo="+info, "images/pxeboot/vmlinuz=kernel", "images/pxeboot/initrd.img=initrd", "EFI/BOOT/shimx64.efi=shim")
}

// versionOf gives the file VERSION of what was built, and fails if the image
// breaks a rule.
func versionOf(t *testing.T, ref transport.Reference) string {
	t.Helper()
	noViolations(t, ref)
	src, err := newClient(t).Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	docs, err := readDocuments(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	c := &content{}
	for i, l := range docs.manifest.Layers {
		if err := c.readLayer(t.Context(), src, l, i); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range c.entries {
		if e.Path == spec.VersionName {
			return e.SHA256
		}
	}
	return ""
}

// TestOwnListOfArchive says what to do with a list of the archive itself.
func TestOwnListOfArchive(t *testing.T) {
	o := amd64()
	dir := t.TempDir()
	b := tarTree(t, writeTree(t, t.TempDir(), "vmlinuz=k"))
	if err := os.WriteFile(filepath.Join(dir, "t.tar"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	list := hex.EncodeToString(sum[:]) + "  t.tar\n"
	if err := os.WriteFile(filepath.Join(dir, "sums"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Sources, o.Checksums = []string{filepath.Join(dir, "t.tar")}, []string{filepath.Join(dir, "sums")}
	_, err := Scan(t.Context(), o)
	if exitCode(err) != 3 || !strings.Contains(err.Error(), "is an archive") || !strings.Contains(hint(err), "recipe") {
		t.Errorf("error %v, hint %q", err, hint(err))
	}
}

func TestTreeInfoChecksums(t *testing.T) {
	dir := fedoraTree(t, treeInfo("kernel"))
	o := amd64(dir)
	o.OSName, o.OSVersion, o.Checksums = "", "", []string{filepath.Join(dir, ".treeinfo")}
	var remarks []string
	o.Log = func(f string, a ...any) { remarks = append(remarks, fmt.Sprintf(f, a...)) }
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	name := filepath.Base(dir)
	want := "Source: " + name + "\nOS: fedora\nVersion: 42\n\nChecksums: .treeinfo\nSHA256: " + hexSum(treeInfo("kernel")) +
		"\n\nVerified-By: nobody\nFiles:\n EFI/BOOT/shimx64.efi\n\nVerified-By: .treeinfo\nFiles:\n images/pxeboot/initrd.img\n images/pxeboot/vmlinuz\n"
	ref, r := buildInto(t, o)
	if got := versionOf(t, ref); got != hexSum(want) {
		t.Errorf("VERSION is not as expected:\n%s", want)
	}
	if got := plan.Annotations[spec.AnnotationVerifiedBy]; got != ".treeinfo@sha256:"+hexSum(treeInfo("kernel")) {
		t.Error(got)
	}
	if got := plan.Annotations[spec.AnnotationVerifiedFiles]; got != "2/3" || plan.Labels[spec.AnnotationVerifiedFiles] != "" {
		t.Error(got)
	}
	for _, e := range plan.Layers[0].Entries {
		if strings.HasPrefix(e.Path, "images/pxeboot/") != (len(e.VerifiedBy) == 1) {
			t.Errorf("%s: %v", e.Path, e.VerifiedBy)
		}
	}
	if len(remarks) == 0 || !strings.Contains(strings.Join(remarks, "\n"), "1 of 3 files") {
		t.Errorf("nothing is said about shim: %q", remarks)
	}

	// Without the file the payload is what it was, and the image tells apart.
	no, yes := false, true
	o.VersionFile = &no
	ref, plain := buildInto(t, o)
	if versionOf(t, ref) != "" || plain.Digest == r.Digest {
		t.Error("VERSION was not wanted")
	}
	o.Checksums, o.VersionFile = nil, &yes
	o.Exclude = []string{".treeinfo"}
	if ref, _ = buildInto(t, o); versionOf(t, ref) == "" {
		t.Error("VERSION was wanted")
	}
	o.VersionFile = nil
	if ref, _ = buildInto(t, o); versionOf(t, ref) != "" {
		t.Error("VERSION without a reason")
	}
}

func TestChecksumsOfPublishers(t *testing.T) {
	p, other := newPublisher(t), newPublisher(t)
	list := hexSum("kernel") + "  ./netboot/debian-installer/amd64/linux\n" + hexSum("gtk") + "  ./netboot/gtk/debian-installer/amd64/linux\n" + hexSum("initrd") + "  ./netboot/debian-installer/amd64/initrd.gz\n"
	release := "Origin: Debian\nSHA256:\n " + hexSum(list) + fmt.Sprintf(" %d main/installer-amd64/current/images/SHA256SUMS\n", len(list))
	tree := func(t *testing.T, kernel string) string {
		return writeTree(t, t.TempDir(), "debian-installer/amd64/linux="+kernel, "debian-installer/amd64/initrd.gz=initrd")
	}
	for _, tt := range []struct {
		name   string
		kernel string
		files  []string // documents; every one is given
		given  int      // or only so many of them, from the end
		ring   string
		set    func(*Options)
		code   int
		want   string // of the error, or of the annotation
	}{
		{name: "chain", files: []string{"SHA256SUMS=" + list, "InRelease=" + p.clear(t, release)}, ring: p.keyring,
			want: "main/installer-amd64/current/images/SHA256SUMS@sha256:" + hexSum(list) + " openpgp:" + p.fingerprint()},
		{name: "detached", files: []string{"SHA256SUMS=" + list, "SHA256SUMS.gpg=" + p.detached(t, list)}, ring: p.keyring,
			want: "SHA256SUMS@sha256:" + hexSum(list) + " openpgp:" + p.fingerprint()},
		{name: "signature alone is given", files: []string{"SHA256SUMS=" + list, "SHA256SUMS.gpg=" + p.detached(t, list)}, given: 1, ring: p.keyring, want: "SHA256SUMS@"},
		{name: "another flavour's kernel", kernel: "gtk", files: []string{"CHECKSUM=" + p.clear(t, list)}, ring: p.keyring, want: "CHECKSUM@"},
		{name: "changed kernel", kernel: "evil", files: []string{"CHECKSUM=" + p.clear(t, list)}, ring: p.keyring, code: 3, want: "CHECKSUM says"},
		{name: "other key", files: []string{"CHECKSUM=" + other.clear(t, list)}, ring: p.keyring, code: 3, want: "keyring does not have"},
		{name: "unsigned list with a keyring", files: []string{"SHA256SUMS=" + list}, ring: p.keyring, code: 3, want: "is not signed"},
		{name: "signature without a keyring", files: []string{"CHECKSUM=" + p.clear(t, list)}, code: 2, want: "no keyring"},
		{name: "signature of what is not there", files: []string{"SHA256SUMS.gpg=" + p.detached(t, list)}, ring: p.keyring, code: 4, want: "is the signature of"},
		{name: "keyring alone", ring: p.keyring, code: 2, want: "nothing to check"},
		{name: "no such keyring", files: []string{"CHECKSUM=" + p.clear(t, list)}, ring: "/nonexistent", code: 4, want: "opening the keyring"},
		{name: "unsigned list that does not fit exactly", files: []string{"SHA256SUMS=" + list}, code: 3, want: "is not in the checksum file"},
		{name: "list of something else", files: []string{"CHECKSUM=" + p.clear(t, hexSum("x")+"  x\n")}, ring: p.keyring, code: 3, want: "says nothing about any file"},
		{name: "one is not covered", files: []string{"CHECKSUM=" + p.clear(t, list[:strings.Index(list, hexSum("initrd"))])}, ring: p.keyring, want: "CHECKSUM@"},
		{name: "one is not covered, but has to be", files: []string{"CHECKSUM=" + p.clear(t, list[:strings.Index(list, hexSum("initrd"))])}, ring: p.keyring,
			set: func(o *Options) { o.RequireVerified = true }, code: 3, want: "initrd.gz\": no publisher's checksum"},
		{name: "nothing is covered, but has to be", set: func(o *Options) { o.RequireVerified = true }, code: 3, want: "no publisher's checksum"},
		{name: "own list is no publisher's", files: []string{"sums=" + hexSum("kernel") + "  debian-installer/amd64/linux\n" + hexSum("initrd") + "  debian-installer/amd64/initrd.gz\n"},
			set: func(o *Options) { o.RequireVerified = true }, code: 3, want: "no publisher's checksum"},
		{name: "own lists that differ", files: []string{"a=" + hexSum("kernel") + "  x\n", "b=" + hexSum("evil") + "  x\n"}, code: 3, want: "do not agree"},
		{name: "all has to be covered, and is", files: []string{"CHECKSUM=" + p.clear(t, list)}, ring: p.keyring, set: func(o *Options) { o.RequireVerified = true }, want: "CHECKSUM@"},
		{name: "two lists that disagree", files: []string{"CHECKSUM=" + p.clear(t, list), "CHECKSUM2=" + p.clear(t, hexSum("evil")+"  netboot/debian-installer/amd64/linux\n")}, ring: p.keyring, code: 3, want: "CHECKSUM2 says"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.kernel == "" {
				tt.kernel = "kernel"
			}
			o := amd64(tree(t, tt.kernel))
			docs := writeTree(t, t.TempDir(), tt.files...)
			for i, f := range tt.files {
				if name, _, _ := strings.Cut(f, "="); i >= len(tt.files)-tt.given || tt.given == 0 {
					o.Checksums = append(o.Checksums, filepath.Join(docs, name))
				}
			}
			if tt.ring != "" {
				o.Keyrings = []string{tt.ring}
			}
			if tt.set != nil {
				tt.set(&o)
			}
			if tt.code == 0 {
				ref, r := buildInto(t, o)
				if got := inspect(t, ref).Annotations[spec.AnnotationVerifiedBy]; !strings.HasPrefix(got, tt.want) || r == nil {
					t.Errorf("%q", got)
				}
				return
			}
			plan, err := Scan(t.Context(), o)
			if err == nil {
				defer plan.Close()
				_, err = Build(t.Context(), newClient(t), plan, transport.Reference{Transport: transport.Dir, Name: filepath.Join(t.TempDir(), "out")})
			}
			if err == nil || exitCode(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (exit %d), want %q", err, exitCode(err), tt.want)
			}
		})
	}
}

// TestWholeSource has a list name the archive and not what is in it.
func TestWholeSource(t *testing.T) {
	p := newPublisher(t)
	tarball := tarTree(t, writeTree(t, t.TempDir(), bootTree()...))
	list := hexSum(string(tarball)) + " *netboot-amd64.tar\n"
	dir := writeTree(t, t.TempDir(), "netboot-amd64.tar="+string(tarball), "SHA256SUMS="+list, "SHA256SUMS.gpg="+p.detached(t, list), "extra=1")
	o := amd64(filepath.Join(dir, "netboot-amd64.tar"))
	o.Checksums, o.Keyrings, o.RequireVerified = []string{filepath.Join(dir, "SHA256SUMS.gpg")}, []string{p.keyring}, true
	for _, format := range []Format{FormatImage, FormatArtifact} {
		o.Format = format
		plan, err := Scan(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		text := plan.versionText(tree{})
		if err := plan.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(text, "Source: netboot-amd64.tar\nSHA256: "+hexSum(string(tarball))+"\n") || plan.Annotations[spec.AnnotationVerifiedFiles] == "" {
			t.Errorf("%s\n%v", text, plan.Annotations)
		}
		ref, _ := buildInto(t, o)
		noViolations(t, ref)
	}
	o.Sources = append(o.Sources, filepath.Join(dir, "extra"))
	if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), `"extra"`) {
		t.Errorf("another source is not covered: %v", err)
	}
	o.Sources = o.Sources[:1]
	if err := os.WriteFile(o.Sources[0], append(tarball, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), "SHA256SUMS says") {
		t.Errorf("changed archive: %v", err)
	}
}

// TestChecksumsByURL takes a list from where it is published, also for a file
// that is an artifact of its own.
func TestChecksumsByURL(t *testing.T) {
	list := hexSum("kernel") + "  ./netboot/vmlinuz\n" + hexSum("x") + "  other\n"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/SHA256SUMS" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, list)
	}))
	defer srv.Close()
	o := fileOptions(t, "vmlinuz=kernel")
	o.Checksums, o.PlainHTTP, o.RequireVerified = []string{srv.URL + "/images/SHA256SUMS"}, true, true
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if got := plan.manifests()[0].annotations[spec.AnnotationVerifiedBy]; got != o.Checksums[0]+"@sha256:"+hexSum(list) {
		t.Error(got)
	}
	o.Checksums[0] += ".old"
	if _, err := Scan(t.Context(), o); exitCode(err) != 4 {
		t.Error(err)
	}
	o.Checksums[0], o.PlainHTTP = srv.URL+"/images/SHA256SUMS", false
	if _, err := Scan(t.Context(), o); exitCode(err) != 2 {
		t.Errorf("without TLS: %v", err)
	}
}

func TestVersionClash(t *testing.T) {
	yes := true
	for _, name := range []string{"VERSION", "version", "VERSION/x"} {
		o := amd64(writeTree(t, t.TempDir(), append(bootTree(), name+"=1")...))
		o.VersionFile = &yes
		if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(hint(err), "--version-file=false") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
