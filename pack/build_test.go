package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// noise gives n bytes that hardly compress, always the same.
func noise(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		b.Write(sum[:])
	}
	return b.String()[:n]
}

// goldenTree is what the golden digests are of.
func goldenTree() []string {
	return append(bootTree(), "images/rootfs="+noise(300<<10), "long/"+strings.Repeat("n", 120)+"/ümlaut=x")
}

// TestGolden holds the bytes of images still. As long as the format is a draft,
// a digest here may change, with the reason in spec/netboot.md; later never.
func TestGolden(t *testing.T) {
	dir := writeTree(t, t.TempDir(), goldenTree()...)
	epoch := time.Unix(1700000000, 0)
	for _, tc := range []struct {
		compression archive.Compression
		perFile     bool
		created     *time.Time
		want        string
	}{
		{archive.ZstdChunked, false, nil, "fecab927f171da6c6e7ce363c2249e630a4ece646f3d2e578b5f4e67bc43a337"},
		{archive.ZstdChunked, true, nil, "32a98e77323064d9f88eef5345d31531ba3ec253f97eafab53e2316a8af9395f"},
		{archive.Zstd, false, nil, "2a80a7d8f8b7e619a71b6fd941d14e0337df9af4a194431cb20d7fe6f124e32c"},
		{archive.Zstd, true, nil, "18d7e2831b1852b63bd1477676ca5831d440ea48683d8d3c3dadc96a085a7471"},
		{archive.Gzip, false, nil, "cd9b4986c7388dd0752a565ae0e23389685ce53291e2fdf82fb2e50ec13fb73c"},
		{archive.Gzip, true, nil, "9a9d218793cc7ec07c9932e448cc9d4c897545adae2b9d38a3b8b9fca5eca563"},
		{archive.None, false, nil, "4420b854566e5ddd06df366e51e76eff182d85f8a1de89855b64bfdcfa45b79e"},
		{archive.None, true, nil, "ff21e7c2602330f64758617db283655740131cc0d4f577e9cba7fd298b3ff6df"},
		{archive.ZstdChunked, false, &epoch, "84818b8e67cbd5afed4cd230f45dfd73a78de3e668e3bd0f9abdea690d9f3527"},
	} {
		t.Run(fmt.Sprintf("%s,%v,%v", tc.compression, tc.perFile, tc.created != nil), func(t *testing.T) {
			o := amd64(dir)
			o.Compression, o.PerFileLayers, o.ModTime = tc.compression, tc.perFile, tc.created
			ref, r := buildInto(t, o)
			if r.Digest.Encoded() != tc.want {
				t.Errorf("digest %s, want %s", r.Digest.Encoded(), tc.want)
			}
			noViolations(t, ref)
		})
	}
}

func noViolations(t *testing.T, ref transport.Reference) {
	t.Helper()
	src, err := newClient(t).Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	report, err := Lint(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		if !placeholder(v) {
			t.Errorf("%+v", v)
		}
	}
}

// placeholder tells whether a finding is only about the contents of files, which
// are placeholders in most tests.
func placeholder(v spec.Violation) bool {
	return v.Severity == bootcheck.SeverityInfo || v.Rule == bootcheck.RuleEFIFormat
}

// TestReproducible packs the same tree made in other circumstances. It changes
// the umask and the number of processors of the process, so it is not parallel.
func TestReproducible(t *testing.T) {
	tree := bootTree()
	tree = append(tree, "big="+noise(2<<20))
	want := map[Format]string{}
	check := func(name string, dir string) {
		t.Helper()
		for _, format := range []Format{FormatImage, FormatArtifact} {
			o := amd64(dir)
			o.Format = format
			_, r := buildInto(t, o)
			if want[format] == "" {
				want[format] = r.Digest.String()
			}
			if r.Digest.String() != want[format] {
				t.Errorf("%s: %s: digest %s, want %s", name, format, r.Digest, want[format])
			}
		}
	}
	first := writeTree(t, t.TempDir(), tree...)
	check("first", first)
	check("again", first)

	reversed := slices.Clone(tree)
	slices.Reverse(reversed)
	check("other order of creation", writeTree(t, t.TempDir(), reversed...))

	old := syscall.Umask(0o077)
	masked := writeTree(t, t.TempDir(), tree...)
	check("umask 077", masked)
	syscall.Umask(0)
	check("umask 0", masked)
	syscall.Umask(old)

	at := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	if err := os.Chtimes(filepath.Join(masked, "big"), at, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(masked, "big"), 0o4711); err != nil {
		t.Fatal(err)
	}
	check("other times and modes", masked)

	procs := runtime.GOMAXPROCS(1)
	check("one processor", first)
	runtime.GOMAXPROCS(7)
	check("seven processors", first)
	runtime.GOMAXPROCS(procs)

	local := time.Local
	time.Local = time.FixedZone("far", 13*3600)
	check("another time zone", first)
	time.Local = local

	if os.Geteuid() == 0 {
		if err := os.Lchown(filepath.Join(masked, "big"), 12345, 54321); err != nil {
			t.Fatal(err)
		}
		check("another owner", masked)
	}
}

func TestDestinationInSource(t *testing.T) {
	dir := writeTree(t, t.TempDir(), "x")
	plan, err := Scan(t.Context(), amd64(dir))
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{dir, filepath.Join(dir, "a/b"), filepath.Join(link, "out")} {
		_, err := Build(t.Context(), newClient(t), plan, transport.Reference{Transport: transport.OCI, Name: out, Tag: "x"})
		if exitCode(err) != 2 {
			t.Errorf("%s: %v", out, err)
		}
	}
}

func TestChecksums(t *testing.T) {
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	good := sum("a") + "  a\n" + sum("b") + " *./d/b\n"
	for _, tc := range []struct {
		name, list string
		set        func(*Options)
		text       string // of the refusal; empty for none
	}{
		{"fits", good, nil, ""},
		{"fits after renaming", good, func(o *Options) { o.Rename = map[string]string{"a": "z"} }, ""},
		{"excluded", good + sum("x") + "  x\n", func(o *Options) { o.Exclude = []string{"x"} }, ""},
		{"wrong", strings.Replace(good, sum("a"), sum("x"), 1), nil, sum("x")},
		{"unlisted", sum("a") + "  a\n", nil, "not in the checksum file"},
		{"missing", good + sum("x") + "  x\n", nil, "no source holds"},
		{"BSD", "SHA256 (a) = " + sum("a") + "\nSHA256 (d/b) = " + sum("b") + "\n", nil, ""},
		{"no list", "a: " + sum("a") + "\n", nil, "sha256sum"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeTree(t, t.TempDir(), "a=a", "d/b=b", "SHA256SUM="+tc.list)
			o := amd64(dir)
			o.Checksums = []string{filepath.Join(dir, "SHA256SUM")}
			if tc.set != nil {
				tc.set(&o)
			}
			plan, err := Scan(t.Context(), o)
			if err == nil {
				dst := transport.Reference{Transport: transport.Dir, Name: filepath.Join(t.TempDir(), "out")}
				_, err = Build(t.Context(), newClient(t), plan, dst)
			}
			switch {
			case tc.text == "" && err != nil:
				t.Error(err)
			case tc.text != "" && (exitCode(err) != 3 || !strings.Contains(err.Error(), tc.text)):
				t.Errorf("error %v, want %q", err, tc.text)
			}
		})
	}
}
