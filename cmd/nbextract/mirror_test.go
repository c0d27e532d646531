package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// mirrored is a mirror of a registry with something of each kind: a signed index, an
// artifact of raw files, and an image in docker's format.
type mirrored struct {
	dir   string // of the mirror
	repo  *signedRepo
	index ocispec.Descriptor
	want  map[string]digest.Digest // NAME:TAG
}

func newMirrored(t *testing.T) *mirrored {
	addr, nbpack, tree := testserver.Registry(t, ""), nbpackPath(t), t.TempDir()
	writeTree(t, tree, map[string]string{"vmlinuz": strings.Repeat("kernel", 50000), "initrd.img": "ramdisk"})
	m := &mirrored{dir: filepath.Join(t.TempDir(), "mirror"), repo: newSignedRepo(t, addr)}
	build := func(ref string, args ...string) {
		t.Helper()
		all := append([]string{"build", "-q", "--lint=off", "--tls-verify=false", "--os-name", "d", "--os-version", "1"}, args...)
		program(t, tree, nbpack, append(all, tree, "docker://"+addr+"/"+ref)...)
	}
	build("netboot:v", "--index", "--platform", "linux/arm64")
	m.index = m.repo.build(tree, "first")
	m.repo.sign(m.index)
	build("files/netboot:12", "--format", "artifact", "--platform", "linux/amd64")
	build("old/netboot:oci", "--compression", "gzip", "--platform", "linux/amd64")
	if testneed.Extra(t, "skopeo") != "" {
		program(t, tree, "skopeo", "copy", "-q", "--insecure-policy", "--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
			"docker://"+addr+"/old/netboot:oci", "docker://"+addr+"/old/netboot:docker")
	}
	r := runHere(t, "mirror", "--tls-verify=false", "--json", addr+"/netboot:v", addr+"/files/netboot:12", addr+"/old/netboot:*", m.dir)
	var report struct {
		Images []struct {
			Repository, Tag string
			Digest          digest.Digest
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 {
		t.Fatalf("mirror: exit code %d, %v\n%s", r.code, err, r.stderr)
	}
	m.want = map[string]digest.Digest{}
	for _, i := range report.Images {
		m.want[i.Repository+":"+i.Tag] = i.Digest
	}
	if len(m.want) < 3 || m.want["netboot:v"] != m.index.Digest {
		t.Fatalf("mirror: %s", r.stdout)
	}
	testserver.Readable(t, m.dir)
	return m
}

// config gives what --print-config prints.
func config(t *testing.T, kind, dir string) string {
	t.Helper()
	r := runHere(t, "mirror", "--print-config", kind, dir)
	if r.code != 0 {
		t.Fatalf("mirror --print-config %s: exit code %d\n%s", kind, r.code, r.stderr)
	}
	return r.stdout
}

// TestMirrorServed has every client pull from the mirror behind each web server,
// and from copies of it that rsync made.
func TestMirrorServed(t *testing.T) {
	m := newMirrored(t)
	t.Run("nginx", func(t *testing.T) {
		m.pulls(t, testserver.Nginx(t, config(t, "nginx", m.dir)), true)
	})
	t.Run("apache", func(t *testing.T) {
		m.pulls(t, testserver.Apache(t, config(t, "apache", m.dir)), true)
	})
	t.Run("caddy", func(t *testing.T) {
		m.pulls(t, testserver.Caddy(t, config(t, "caddy", m.dir)), false)
	})
	t.Run("rsync", func(t *testing.T) {
		testneed.Tool(t, "rsync")
		dir := filepath.Join(t.TempDir(), "copy")
		program(t, m.dir, "rsync", "-aH", "--exclude=/.nbextract", m.dir+"/", dir+"/")
		testserver.Readable(t, dir)
		if a, b := treeBytes(t, m.dir), treeBytes(t, dir); a != b {
			t.Errorf("the copy has %d bytes, the mirror %d", b, a)
		}
		m.pulls(t, testserver.Nginx(t, config(t, "nginx", dir)), true)
	})
	t.Run("rsync script", func(t *testing.T) {
		testneed.Tool(t, "rsync")
		dir := filepath.Join(t.TempDir(), "copy")
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte(config(t, "rsync", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		program(t, m.dir, "sh", script, m.dir)
		testserver.Readable(t, dir)
		if a, b := treeBytes(t, m.dir), treeBytes(t, dir); a != b {
			t.Errorf("the copy has %d bytes, the mirror %d", b, a)
		}
		m.pulls(t, testserver.Nginx(t, config(t, "nginx", dir)), true)
	})
}

// program runs one and returns what it prints.
func program(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// treeBytes counts the bytes of a tree, those of several links once.
func treeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	var seen []os.FileInfo
	err := filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st.Name() == ".nbextract" {
			return filepath.SkipDir
		}
		if !st.Mode().IsRegular() || slices.ContainsFunc(seen, func(o os.FileInfo) bool { return os.SameFile(o, st) }) {
			return nil
		}
		seen, sum = append(seen, st), sum+st.Size()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

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

// TestMirrorScript has the source change, or the script end, before each of its
// calls of rsync: the copy is whole every time.
func TestMirrorScript(t *testing.T) {
	testneed.Tool(t, "rsync")
	nbpack, work := nbpackPath(t), t.TempDir()
	fill := func(dir, tag string, flags ...string) {
		t.Helper()
		writeTree(t, filepath.Join(work, "tree"), map[string]string{"vmlinuz": tag, "initrd.img": "same"})
		program(t, work, nbpack, "build", "-q", "--lint=off", "--os-name", "d", "--os-version", "1", "--platform", "amd64", "tree", "oci:layout:v")
		program(t, work, nbpack, "build", "-q", "--lint=off", "--format=artifact", "--os-name", "d", "--os-version", "2", "--platform", "amd64", "tree", "oci:layout:"+tag)
		args := append([]string{"mirror", "--repository=netboot"}, flags...)
		if r := runHere(t, append(args, "oci:"+work+"/layout:v", "oci:"+work+"/layout:"+tag, filepath.Join(work, dir))...); r.code != 0 {
			t.Fatal(r.stderr)
		}
	}
	fill("old", "one")
	program(t, work, "cp", "-a", "old", "kept")
	fill("kept", "two") // has what old had, for those who are reading it
	program(t, work, "cp", "-a", "kept", "new")
	fill("new", "two", "--prune", "--grace=0")
	real := testneed.Tool(t, "rsync")
	shim := "#!/bin/sh\nn=$(cat count); n=$((n + 1)); echo $n >count\nif [ $n -eq $AT ]; then $DO; fi\nexec " + real + ` "$@"` + "\n"
	if err := errors.Join(os.Mkdir(filepath.Join(work, "bin"), 0o755), os.WriteFile(filepath.Join(work, "bin/rsync"), []byte(shim), 0o755)); err != nil {
		t.Fatal(err)
	}
	copied := 0
	sync := func(dir, from, do string, at int) error {
		script := filepath.Join(work, "script")
		if err := errors.Join(os.RemoveAll(filepath.Join(work, "source")), os.Symlink(from, filepath.Join(work, "source")),
			os.WriteFile(filepath.Join(work, "count"), []byte("0\n"), 0o600), os.WriteFile(script, []byte(config(t, "rsync", dir)), 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", script, work+"/source")
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(work, "bin")+":"+os.Getenv("PATH"), "DO="+do, fmt.Sprint("AT=", at))
		err := cmd.Run()
		b, _ := os.ReadFile(filepath.Join(work, "count"))
		copied, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return err
	}
	if err := sync(filepath.Join(work, "first"), "old", "true", 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, do string }{{"old", "ln -sfn kept source"}, {"new", "exit 1"}} {
		for at, calls := 1, 6; at <= calls; at++ {
			dir := filepath.Join(t.TempDir(), "copy")
			program(t, work, "cp", "-a", "first", dir)
			if err := sync(dir, c.from, c.do, at); (err != nil) != (c.do == "exit 1") {
				t.Fatalf("%s before call %d: %v", c.do, at, err)
			}
			if c.from == "old" {
				calls = copied // it removes nothing where the source has changed
			}
			wholeTags(t, dir)
			if err := sync(dir, "new", "true", 0); err != nil {
				t.Fatal(err)
			}
			wholeTags(t, dir)
			if diff, err := exec.CommandContext(t.Context(), "diff", "-r", "--no-dereference", "--exclude=.nbextract", filepath.Join(work, "new"), dir).CombinedOutput(); err != nil {
				t.Errorf("%s before call %d: %s", c.do, at, diff)
			}
		}
	}
}

// wholeTags proves that all tags of a tree lead to all that they need.
func wholeTags(t *testing.T, dir string) {
	t.Helper()
	links, err := filepath.Glob(filepath.Join(dir, "v2/*/_tags/*"))
	if err != nil || len(links) == 0 {
		t.Errorf("no tags: %v", err)
	}
	for _, link := range links {
		b, err := os.ReadFile(filepath.Join(link, "m.oci-manifest"))
		if err != nil {
			t.Error(err)
			continue
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(b, &m); err != nil {
			t.Error(err)
		}
		for _, d := range append(m.Layers, m.Config) {
			if st, err := os.Stat(filepath.Join(dir, "blobs/sha256", d.Digest.Encoded())); err != nil || st.Size() != d.Size {
				t.Errorf("%s: %v", link, err)
			}
		}
	}
}
