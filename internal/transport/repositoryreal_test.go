package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/testneed"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func realClient(t *testing.T) *Client {
	return testClient(t, insecure(Options{PreferHTTP: func(string) bool { return true }}))
}

// archived packs a layout into an archive, as oci-archive: has it.
func archived(t *testing.T, layout string) string {
	t.Helper()
	dir := strings.TrimSuffix(strings.TrimPrefix(layout, "oci:"), ":v1")
	file := filepath.Join(t.TempDir(), "archive.tar")
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, "tar"), "-C", dir, "-cf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v %s", err, out)
	}
	return "oci-archive:" + file + ":v1"
}

// TestRealCopy goes from an archive to the real registry, within it by
// mounting, to a second one, and back into layouts.
func TestRealCopy(t *testing.T) {
	one, requests := startRegistry(t)
	two, _ := startRegistry(t)
	c := realClient(t)
	f := newForest(t)
	d := f.mixed(false)
	stops := []string{archived(t, f.layout(d)), one + "/netboot/first:v1", one + "/second:v1", two + "/third:v1", "oci:" + t.TempDir() + "/new:v1", "oci:" + t.TempDir() + ":v1"}
	for i, to := range stops[1:] {
		requests()
		r := openRepository(t, c, to)
		if err := copyTo(t, c, stops[i], r); err != nil {
			t.Fatalf("%s to %s: %v", stops[i], to, err)
		}
		if sent := slices.IndexFunc(requests(), func(s string) bool { return strings.HasPrefix(s, "PUT /v2/second/blobs/") }); sent >= 0 {
			t.Error("the second repository was sent blobs that it could have mounted")
		}
		f.check(c, to, d)
		if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"v1"}) {
			t.Errorf("%s: tags %q, %v", to, tags, err)
		}
	}
	checkRawIndex(t, one+"/second:v1", f.bytes[d.Digest])
}

// checkRawIndex asks skopeo for the bytes under a tag.
func checkRawIndex(t *testing.T, ref string, want []byte) {
	t.Helper()
	skopeo := testneed.Extra(t, "skopeo")
	if skopeo == "" {
		return
	}
	got, err := exec.CommandContext(t.Context(), skopeo, "inspect", "--raw", "--tls-verify=false", "docker://"+ref).Output()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("skopeo reads %q, %v; want %q", got, err, want)
	}
}

// TestSkopeoSource copies an index that skopeo wrote.
func TestSkopeoSource(t *testing.T) {
	skopeo := testneed.Tool(t, "skopeo")
	host, _ := startRegistry(t)
	c := realClient(t)
	f := newForest(t)
	var children []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		config := f.add(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"`+arch+`","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
		image := f.add(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, "", config))
		image.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		children = append(children, image)
	}
	artifact := f.add(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, `"artifactType":"application/x-boot",`, f.add(ocispec.MediaTypeEmptyJSON, []byte("{}")), f.add("application/x-netboot-file", []byte("kernel"))))
	artifact.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	_, body := indexOf(t, "x", append(children, artifact)...)
	archive := filepath.Join(t.TempDir(), "mixed.tar")
	out, err := exec.CommandContext(t.Context(), skopeo, "copy", "--all", "--tmpdir", t.TempDir(), f.layout(f.add(ocispec.MediaTypeImageIndex, body)), "oci-archive:"+archive+":v1").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	to := host + "/mixed:v1"
	if err := copyTo(t, c, "oci-archive:"+archive+":v1", openRepository(t, c, to)); err != nil {
		t.Fatal(err)
	}
	src := openSource(t, c, "oci-archive:"+archive+":v1")
	d, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := src.Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	checkRawIndex(t, to, want)
	delete(f.bytes, f.add(ocispec.MediaTypeImageIndex, body).Digest) // skopeo spells indexes its own way
	f.check(c, to, d)
	// And skopeo reads all of it back.
	back := t.TempDir()
	out, err = exec.CommandContext(t.Context(), skopeo, "copy", "--all", "--src-tls-verify=false", "docker://"+to, "dir:"+back).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(back, "manifest.json")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("came back as %q, %v", got, err)
	}
}

// TestRealTagBeingWritten: the real registry answers 404 and 500 for a tag that
// is written at this moment. A reader may have to wait, and may fail when it is
// unlucky, but is never told that the tag is missing.
func TestRealTagBeingWritten(t *testing.T) {
	host, _ := startRegistry(t)
	var troubles sync.Map // what the registry answered
	c := testClient(t, insecure(Options{
		PreferHTTP: func(string) bool { return true },
		Log: func(format string, a ...any) {
			message, _, _ := strings.Cut(fmt.Sprintf(format, a...), "; trying")
			n, _ := troubles.LoadOrStore(message, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		},
		Sleep: func(ctx context.Context, d time.Duration) error { return sleep(ctx, d/50) },
	}))
	r := openRepository(t, c, host+"/r")
	write := func(n int) error {
		doc, err := ociindex.New(nil).Annotate("n", strings.Repeat("x", n))
		if err == nil {
			_, err = r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, doc.Bytes(), PutOptions{})
		}
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	const writers, writes = 4, 25
	done := make(chan struct{})
	var reading, writing sync.WaitGroup
	for range 2 {
		reader := openRepository(t, c, host+"/r")
		reading.Go(func() {
			for reads := 0; ; reads++ {
				select {
				case <-done:
					return
				default:
				}
				_, _, err := reader.Get(t.Context(), "v1")
				var absent *NotFoundError
				if errors.As(err, &absent) {
					t.Errorf("read %d: %v", reads, err)
					return
				}
				if err != nil {
					t.Logf("read %d: %v", reads, err)
				}
			}
		})
	}
	var failed atomic.Int64
	for w := range writers {
		writing.Go(func() {
			for n := range writes {
				if err := write(w*writes + n); err != nil {
					failed.Add(1)
					t.Logf("write %d: %v", n, err)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	t.Logf("%d of %d writes failed", failed.Load(), writers*writes)
	troubles.Range(func(message, n any) bool {
		t.Logf("%d times: %s", n.(*atomic.Int64).Load(), message)
		return true
	})
	if failed.Load() > writers*writes/4 {
		t.Errorf("%d writes failed", failed.Load())
	}
}
