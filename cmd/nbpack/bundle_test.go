package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	gcr "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// nbpackRun runs the command as a process of its own.
func nbpackRun(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nbpack", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nbpack %q: %v\n%s", args, err, out)
	}
}

// noise is content that no two images share by chance, and always the same.
func noise(seed, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.New(rand.NewSource(int64(seed))).Read(b) // it never fails
	return b
}

// upload sends content to a registry and describes it.
func upload(t testing.TB, method, url, mediaType string, body []byte) v1.Descriptor {
	t.Helper()
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if method == http.MethodPost {
		resp, err := http.Post(url, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		where, err := resp.Location()
		if err != nil {
			t.Fatal(err)
		}
		q := where.Query()
		q.Set("digest", d.Digest.String())
		where.RawQuery = q.Encode()
		url, mediaType = where.String(), "application/octet-stream"
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s: %s", url, resp.Status)
	}
	return d
}

// pushed puts an image with these layers into a registry.
func pushed(t testing.TB, host, repository, tag string, layers ...[]byte) v1.Descriptor {
	t.Helper()
	base := "http://" + host + "/v2/" + repository
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	m.Config = upload(t, http.MethodPost, base+"/blobs/uploads/", v1.MediaTypeImageConfig, fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","n":%q,"rootfs":{"type":"layers","diff_ids":[]}}`, tag))
	for _, l := range layers {
		m.Layers = append(m.Layers, upload(t, http.MethodPost, base+"/blobs/uploads/", v1.MediaTypeImageLayer, l))
	}
	return document(t, base, tag, m.MediaType, m)
}

func document(t testing.TB, base, tag, mediaType string, v any) v1.Descriptor {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return upload(t, http.MethodPut, base+"/manifests/"+tag, mediaType, body)
}

// pushedIndex puts an index of two images into a registry.
func pushedIndex(t testing.TB, host, repository, tag string, seed int) v1.Descriptor {
	t.Helper()
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for i, arch := range []string{"amd64", "arm64"} {
		d := pushed(t, host, repository, tag+"-"+arch, noise(seed+i, 2000), noise(seed, 100))
		d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
	}
	return document(t, "http://"+host+"/v2/"+repository, tag, index.MediaType, index)
}

// TestBundleOfRealRegistry takes images from docker-registry, and has them read from
// the bundle by others.
func TestBundleOfRealRegistry(t *testing.T) {
	host, dir := testserver.Registry(t, ""), filepath.Join(t.TempDir(), "bundle")
	want := pushedIndex(t, host, "some/base", "v1", 1)
	pushedIndex(t, host, "other", "v2", 2)
	nbpackRun(t, "bundle", "create", "--tls-verify=false", "oci:"+dir, host+"/some/base:v1", host+"/other:v2")
	nbpackRun(t, "bundle", "verify", "oci:"+dir)

	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	id, err := gcr.NewHash(want.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	found, err := all.ImageIndex(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := readIndexLayers(found); err != nil {
		t.Errorf("go-containerregistry: %v", err)
	}
	testneed.Tool(t, "skopeo")
	file := filepath.Join(t.TempDir(), "bundle.tar")
	nbpackRun(t, "bundle", "create", "oci-archive:"+file, "oci:"+dir)
	for from, to := range map[string]string{"oci:" + dir: "one", "oci-archive:" + file: "two"} {
		out, err := exec.CommandContext(t.Context(), "skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false",
			from+":"+host+"/some/base:v1", "docker://"+host+"/copies:"+to).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo: %v\n%s", err, out)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/copies/manifests/"+want.Digest.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", want.MediaType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("copied from %s: %s", from, resp.Status)
		}
	}
}

// readIndexLayers reads all layers of the images in an index; the library compares their
// digests.
func readIndexLayers(index gcr.ImageIndex) error {
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		layers, err := img.Layers()
		if err != nil {
			return err
		}
		if len(layers) != 2 {
			return fmt.Errorf("%d layers", len(layers))
		}
		for _, l := range layers {
			r, err := l.Compressed()
			if err != nil {
				return err
			}
			got, err := digest.FromReader(r)
			_ = r.Close()
			if want, werr := l.Digest(); err != nil || werr != nil || got.String() != want.String() {
				return fmt.Errorf("layer %s reads as %s: %v, %v", want, got, err, werr)
			}
		}
	}
	return nil
}

// TestBundleOfManyImages carries 500 images, and one with a layer that is larger than
// all the memory that the command may have had when it comes to the last byte of it.
func TestBundleOfManyImages(t *testing.T) {
	if testing.Short() {
		t.Skip("many images")
	}
	const images, layerSize, largeSize = 500, 4 << 10, 256 << 20
	const limit = 200 << 10 // KiB
	hash := sha256.New()
	if _, err := io.Copy(hash, zeros()); err != nil {
		t.Fatal(err)
	}
	large := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.NewDigest(digest.SHA256, hash), Size: largeSize}
	running := make(chan int, 1) // the process that creates the bundle
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, large.Digest.String()) {
			inner.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(largeSize))
		_, _ = io.CopyN(w, zeros(), largeSize-1)
		if peak := peakMemory(<-running); peak > limit {
			t.Errorf("%d KiB of memory", peak)
		} else {
			t.Logf("%d KiB of memory", peak)
		}
		_, _ = w.Write([]byte{0})
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	var list strings.Builder
	for i := range images {
		repository := fmt.Sprint("many/images-", i%7)
		pushed(t, host, repository, fmt.Sprint("v", i), noise(-1, layerSize), noise(-2, layerSize), noise(i, layerSize))
		fmt.Fprintf(&list, "%s/%s:v%d\n", host, repository, i)
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{large}}
	m.Config = upload(t, http.MethodPost, "http://"+host+"/v2/large/blobs/uploads/", v1.MediaTypeImageConfig, []byte("{}"))
	document(t, "http://"+host+"/v2/large", "v", m.MediaType, m)
	fmt.Fprintf(&list, "%s/large:v\n", host)

	dir := t.TempDir()
	file, bundle := filepath.Join(dir, "list"), "oci:"+filepath.Join(dir, "bundle")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, args := range [][]string{
		{"create", "-q", "--tls-verify=false", "-f", file, bundle}, {"add", "-q", "--tls-verify=false", "-f", file, bundle},
		{"verify", bundle}, {"create", "-q", "oci-archive:" + filepath.Join(dir, "bundle.tar"), bundle},
	} {
		cmd := exec.CommandContext(t.Context(), "nbpack", append([]string{"bundle"}, args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			running <- cmd.Process.Pid
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%q: %v\n%.2000s", args, err, out.String())
		}
		t.Logf("%s: %v user, %v system", args[0], cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime())
	}
}

// peakMemory is the most KiB that a process had in memory, 0 where that is not told.
func peakMemory(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var peak int
	_, _ = fmt.Sscan(rest, &peak)
	return peak
}

// zeros is the content of a large layer, which nobody has in memory.
func zeros() io.Reader { return io.LimitReader(zeroReader{}, 256<<20) }

type zeroReader struct{}

// Read implements io.Reader.
func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
