package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
