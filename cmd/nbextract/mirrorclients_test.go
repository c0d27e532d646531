package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	orasremote "oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// pulls reads everything by every client. digests: the server tells those of tags.
func (m *mirrored) pulls(t *testing.T, addr string, digests bool) {
	t.Run("http", func(t *testing.T) { m.http(t, addr, digests) })
	t.Run("crane", func(t *testing.T) { m.crane(t, addr) })
	if digests { // oras-go wants those of tags in a header
		t.Run("oras-go", func(t *testing.T) { m.oras(t, addr) })
	}
	t.Run("skopeo", func(t *testing.T) { m.skopeo(t, addr) })
	t.Run("podman", func(t *testing.T) { m.podman(t, addr) })
	t.Run("nbextract", func(t *testing.T) { m.nbextract(t, addr) })
}

// http looks at what clients do not tell of.
func (m *mirrored) http(t *testing.T, addr string, digests bool) {
	ask := func(method, path, ranges string) (*http.Response, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		req.Header.Set("Accept-Encoding", "gzip") // which must not be done
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, b
	}
	blob := digest.FromString(strings.Repeat("kernel", 50000)) // of the artifact
	for _, c := range []struct {
		path, mediaType, digest string
		status                  int
	}{
		{"/v2/", "application/json", "", 200},
		{"/v2/netboot/manifests/v", ocispec.MediaTypeImageIndex, m.index.Digest.String(), 200},
		{"/v2/netboot/manifests/" + m.index.Digest.String(), ocispec.MediaTypeImageIndex, m.index.Digest.String(), 200},
		{"/v2/old/netboot/manifests/docker", "application/vnd.docker.distribution.manifest.v2+json", m.want["old/netboot:docker"].String(), 200},
		{"/v2/netboot/tags/list", "application/json", "", 200},
		{"/v2/netboot/referrers/" + m.index.Digest.String(), ocispec.MediaTypeImageIndex, "", 200},
		{"/v2/netboot/referrers/" + blob.String(), ocispec.MediaTypeImageIndex, "", 200},
		{"/v2/files/netboot/blobs/" + blob.String(), "application/octet-stream", blob.String(), 200},
		{"/boot/d/1/amd64/vmlinuz", "application/octet-stream", "", 200},
		{"/v2/netboot/manifests/none", "", "", 404},
		{"/v2/netboot/manifests/" + blob.String(), "", "", 404},
		{"/v2/none/tags/list", "", "", 404},
		{"/v2/netboot/_tags/v/m.oci-index", "", "", 404},
		{"/blobs/sha256/" + blob.Encoded(), "application/octet-stream", "", 200},
		{"/blobs/sha256/" + strings.Repeat("0", 64), "", "", 404},
		{"/blobs/sha256/", "", "", 404},
		{"/.nbextract/mirror/state.json", "", "", 404},
		{"/boot/.nbextract/x", "", "", 404},
		{"/tags.map", "", "", 404},
		{"/", "", "", 404},
	} {
		if m.want["old/netboot:docker"] == "" && strings.Contains(c.path, "docker") {
			continue
		}
		for _, method := range []string{"GET", "HEAD"} {
			resp, b := ask(method, c.path, "")
			if resp.StatusCode != c.status {
				t.Errorf("%s %s: %s", method, c.path, resp.Status)
				continue
			}
			if c.status != 200 {
				continue
			}
			if got := resp.Header.Get("Content-Type"); got != c.mediaType || resp.Header.Get("Content-Encoding") != "" || resp.ContentLength < 0 {
				t.Errorf("%s %s: %q", method, c.path, resp.Header)
			}
			if c.digest == "" {
				continue
			}
			if got := resp.Header.Get("Docker-Content-Digest"); got != c.digest && (digests || strings.Contains(c.path, "sha256:")) {
				t.Errorf("%s %s: %q", method, c.path, resp.Header)
			}
			if method == "GET" && digest.FromBytes(b).String() != c.digest {
				t.Errorf("%s: content of %s", c.path, digest.FromBytes(b))
			}
		}
	}
	if resp, b := ask("GET", "/v2/files/netboot/blobs/"+blob.String(), "bytes=6-11"); resp.StatusCode != 206 || string(b) != "kernel" {
		t.Errorf("a range: %s %q", resp.Status, b)
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if resp, _ := ask(method, "/v2/netboot/manifests/v", ""); resp.StatusCode != 405 {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
}

// crane checks digests, sizes and media types of all answers.
func (m *mirrored) crane(t *testing.T, addr string) {
	crane := testneed.Tool(t, "crane")
	dir := t.TempDir()
	for ref, want := range m.want {
		if got := program(t, dir, crane, "digest", "--insecure", addr+"/"+ref); !strings.HasSuffix(got, want.String()) {
			t.Errorf("%s: %s", ref, got)
		}
		repo, tag, _ := strings.Cut(ref, ":")
		if tags := strings.Fields(program(t, dir, crane, "ls", "--insecure", addr+"/"+repo)); !slices.Contains(tags, tag) {
			t.Errorf("%s: tags %q", ref, tags)
		}
		if strings.HasPrefix(ref, "old/") { // of others it wants configs to say what is in layers, or os.version
			program(t, dir, crane, "validate", "--insecure", "--fast", "--remote", addr+"/"+ref)
		}
		program(t, dir, crane, "pull", "--insecure", "--format=oci", "--annotate-ref", addr+"/"+ref, filepath.Join(dir, "layout"))
	}
}

func (m *mirrored) oras(t *testing.T, addr string) {
	for ref, want := range m.want {
		repo, err := orasremote.NewRepository(addr + "/" + ref)
		if err != nil {
			t.Fatal(err)
		}
		repo.PlainHTTP = true
		d, err := repo.Resolve(t.Context(), repo.Reference.Reference)
		if err != nil || d.Digest != want {
			t.Errorf("%s: %v, %v", ref, d, err)
		}
		got, err := oras.Copy(t.Context(), repo, repo.Reference.Reference, memory.New(), "", oras.DefaultCopyOptions)
		if err != nil || got.Digest != want {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
		n := 0
		err = repo.Referrers(t.Context(), d, "", func(list []ocispec.Descriptor) error { n += len(list); return nil })
		if signed := map[bool]int{true: 1}[want == m.index.Digest]; err != nil || n != signed {
			t.Errorf("%s: %d referrers, %v", ref, n, err)
		}
	}
}

func (m *mirrored) skopeo(t *testing.T, addr string) {
	testneed.Tool(t, "skopeo")
	dir := t.TempDir()
	for ref, want := range m.want {
		raw := exec.CommandContext(t.Context(), "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+addr+"/"+ref)
		b, err := raw.Output()
		if err != nil || digest.FromBytes(b) != want {
			t.Errorf("%s: %s, %v", ref, b, err)
		}
		if strings.HasPrefix(ref, "files/") {
			continue // it does not know artifacts
		}
		to := filepath.Join(dir, digest.FromString(ref).Encoded())
		program(t, dir, "skopeo", "copy", "-q", "--insecure-policy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+addr+"/"+ref, "dir:"+to)
		if b, err := os.ReadFile(filepath.Join(to, "manifest.json")); err != nil || digest.FromBytes(b) != want {
			t.Errorf("%s: copy of %s, %v", ref, digest.FromBytes(b), err)
		}
	}
	var list struct{ Tags []string }
	if err := json.Unmarshal([]byte(program(t, dir, "skopeo", "list-tags", "--tls-verify=false", "docker://"+addr+"/netboot")), &list); err != nil || len(list.Tags) != 1 {
		t.Errorf("tags: %q, %v", list.Tags, err)
	}
}

func (m *mirrored) podman(t *testing.T, addr string) {
	testneed.Tool(t, "podman")
	if os.Geteuid() != 0 {
		t.Skip("not root: container storage is filled as root here")
	}
	policy := filepath.Join(t.TempDir(), "policy.json") // it has no default of its own
	if err := os.WriteFile(policy, []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	store := []string{"--root", filepath.Join(t.TempDir(), "root"), "--runroot", testserver.ShortDir(t), "--storage-driver=vfs"}
	for _, ref := range []string{"netboot:v", "old/netboot:oci", "old/netboot:docker"} {
		if m.want[ref] == "" {
			continue
		}
		program(t, t.TempDir(), "podman", append(store, "pull", "-q", "--tls-verify=false", "--platform=linux/amd64", "--signature-policy="+policy, addr+"/"+ref)...)
	}
}

// nbextract lays out the same trees as from the registry, and believes the
// signature that came along.
func (m *mirrored) nbextract(t *testing.T, addr string) {
	for _, c := range []struct {
		ref   string
		flags []string
	}{
		{"netboot:v", []string{"--platform", "arm64", "--key", m.repo.pub, "--signed-as", m.repo.name()}},
		{"files/netboot:12", nil},
	} {
		boot := t.TempDir()
		r := runHere(t, append([]string{"pull", addr + "/" + c.ref, "-d", boot, "--tls-verify=false", "--layout=flat"}, c.flags...)...)
		if r.code != 0 {
			t.Errorf("%s: exit code %d\n%s", c.ref, r.code, r.stderr)
		}
		if b, err := os.ReadFile(filepath.Join(boot, "vmlinuz")); err != nil || string(b) != strings.Repeat("kernel", 50000) {
			t.Errorf("%s: a kernel of %d bytes, %v", c.ref, len(b), err)
		}
	}
}
