package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/testserver"
)

// incompressible is content that no codec makes smaller, the same for the same
// seed.
func incompressible(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// deltaSize is how large the large file of a test is, in bytes: so that the whole
// suite stays quick, unless more is asked for.
func deltaSize(t *testing.T) int {
	mb := 24
	if testing.Short() {
		mb = 8
	}
	if s := os.Getenv("NBPACK_DELTA_MB"); s != "" {
		var err error
		if mb, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	return mb << 20
}

func save(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sameTree compares the regular files of a tree with those of a live one.
func sameTree(t *testing.T, tree, live string) {
	t.Helper()
	entries, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want, err := os.ReadFile(filepath.Join(tree, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(live, e.Name())); err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes instead of %d, or other ones: %v", e.Name(), len(got), len(want), err)
		}
	}
}

// TestDelta follows one tree through three updates, from the reference
// implementation of a registry: what is fetched is what changed.
func TestDelta(t *testing.T) {
	nbpack, host, tree, boot := nbpackPath(t), testserver.Registry(t, ""), t.TempDir(), t.TempDir()
	ref, live := "docker://"+host+"/netboot:v", filepath.Join(boot, "d/1/amd64")
	size := deltaSize(t)
	image := incompressible(1, size)
	save(t, tree, "install.img", image)
	save(t, tree, "vmlinuz", incompressible(2, 1<<20))
	save(t, tree, "shimx64.efi", incompressible(3, 100<<10))
	save(t, tree, "grub.cfg", []byte("set timeout=5 # thirty bytes.\n"))
	pull := func(what string) extract.TreeReport {
		t.Helper()
		build(t, nbpack, tree, ref)
		r := pullJSON(t, ref, "-d", boot)
		t.Logf("%s: %d bytes in %d requests, %d bytes reused", what, r.Bytes.Fetched, r.Requests, r.Bytes.Reused)
		sameTree(t, tree, live)
		return r
	}
	first := pull("everything")
	if first.Bytes.Fetched < int64(size) {
		t.Errorf("first pull: %+v", first)
	}

	save(t, tree, "grub.cfg", []byte("set timeout=7 # thirty bytes.\n"))
	if r := pull("30 bytes"); r.Bytes.Fetched > 100_000 || r.Requests > 8 || r.Files.Written != 2 {
		t.Errorf("30 bytes changed: %+v", r)
	}

	// One part in a hundred of the large file, in places all over it, and bytes
	// that push the rest along.
	for at := 0; at+size/10 <= size; at += size / 10 {
		copy(image[at:], incompressible(byte(at/(size/10)+10), size/1000))
	}
	image = append(image[:size/3:size/3], append([]byte("moved"), image[size/3:]...)...)
	save(t, tree, "install.img", image)
	if r := pull("one per cent"); r.Bytes.Fetched > int64(size/25)+200<<10 || r.Requests > 60 {
		t.Errorf("one per cent changed: %+v", r)
	}

	// The same file under another name, and nothing else.
	if err := os.Rename(filepath.Join(tree, "install.img"), filepath.Join(tree, "rescue.img")); err != nil {
		t.Fatal(err)
	}
	if r := pull("a new name"); r.Bytes.Fetched > 100_000 || r.Requests > 8 {
		t.Errorf("a file has another name: %+v", r)
	}
	copy(image, "other")
	if err := os.Remove(filepath.Join(tree, "rescue.img")); err != nil {
		t.Fatal(err)
	}
	save(t, tree, "last.img", image)
	if r := pull("a new name and five bytes"); r.Bytes.Fetched > int64(size/25) {
		t.Errorf("a file has another name and five other bytes: %+v", r)
	}
	if code, _, errs := nbextract(t, "verify", "-d", boot); code != 0 {
		t.Errorf("verify: exit %d\n%s", code, errs)
	}
}

// TestTablesAreEnoughToLook lists an image and makes a dry run: neither fetches the
// payload, and both know its links, directories and sizes.
func TestTablesAreEnoughToLook(t *testing.T) {
	nbpack, r, tree := nbpackPath(t), newRecorder(t), t.TempDir()
	save(t, tree, "install.img", incompressible(1, 2<<20))
	save(t, tree, "shimx64.efi", incompressible(3, 100<<10))
	build(t, nbpack, tree, r.ref("v"))
	dry := pullJSON(t, "--dry-run", r.ref("v"), "-d", filepath.Join(t.TempDir(), "boot"))
	if dry.Bytes.Fetched > 20_000 || dry.Requests > 8 || dry.Plan == nil || !dry.Plan.Complete {
		t.Errorf("dry run: %+v, plan %+v", dry, dry.Plan)
	}
	out := must(t, "list", "--tls-verify=false", "--json", r.ref("v"))
	var list extract.Listing
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Images) != 1 {
		t.Fatalf("list: %v\n%s", err, out)
	}
	got := map[string]int64{}
	for _, f := range list.Images[0].Files {
		got[f.Path] = f.Size
	}
	if got["install.img"] != 2<<20 || got["shimx64.efi"] != 100<<10 || len(got) != 5 {
		t.Errorf("list: %v", got)
	}
}

// TestEachFileIsReadOnce counts what updates read, from a layout on the disk: the
// files of the tree once, to prove the layer. A large file of which chunks are
// taken is read, and so is what was made of it.
func TestEachFileIsReadOnce(t *testing.T) {
	nbpack, work, tree := nbpackPath(t), t.TempDir(), t.TempDir()
	ref, boot := "oci:"+filepath.Join(work, "layout")+":v", filepath.Join(work, "boot")
	size := deltaSize(t)
	image := incompressible(1, size)
	save(t, tree, "install.img", image)
	save(t, tree, "grub.cfg", []byte("set timeout=5 # thirty bytes.\n"))
	pull := func(what string) usage {
		t.Helper()
		build(t, nbpack, tree, ref)
		r, u := measure(t, "pull", ref, "-d", boot)
		if r.code != 0 {
			t.Fatalf("exit %d\n%s", r.code, r.stderr)
		}
		t.Logf("%s: read %.2f, wrote %.2f times the size, %d MiB of memory", what,
			float64(u.Read)/float64(size), float64(u.Written)/float64(size), u.Memory>>20)
		if u.Memory > 96<<20 && !raceDetector() {
			t.Errorf("%s: %d MiB of memory", what, u.Memory>>20)
		}
		sameTree(t, tree, filepath.Join(boot, "d/1/amd64"))
		return u
	}
	rest := int64(2<<20 + size/200) // the program itself, documents, tables
	pull("everything")
	save(t, tree, "grub.cfg", []byte("set timeout=7 # thirty bytes.\n"))
	if u := pull("30 bytes"); u.Read > int64(size)+rest || u.Written > rest {
		t.Errorf("30 bytes changed: %+v", u)
	}
	copy(image[size/2:], "changed")
	save(t, tree, "install.img", image)
	if u := pull("a chunk"); u.Read > int64(size)*2+rest || u.Written > int64(size)+rest {
		t.Errorf("a chunk changed: %+v", u)
	}
}

// TestPlainTarIsReadInParts updates an image whose payload is not compressed: its
// headers are found by range, and files are fetched whole.
func TestPlainTarIsReadInParts(t *testing.T) {
	nbpack, r, tree, boot := nbpackPath(t), newRecorder(t), t.TempDir(), t.TempDir()
	save(t, tree, "install.img", incompressible(1, 6<<20))
	save(t, tree, "vmlinuz", incompressible(2, 200<<10))
	save(t, tree, "grub.cfg", []byte("set timeout=5 # thirty bytes.\n"))
	pull := func() extract.TreeReport {
		t.Helper()
		out, err := exec.Command(nbpack, "build", "--tls-verify=false", "--os-name", "d", "--os-version", "1",
			"--platform", "linux/amd64", "--compression", "none", tree, r.ref("v")).CombinedOutput()
		if err != nil {
			t.Fatalf("nbpack build: %v\n%s", err, out)
		}
		got := pullJSON(t, r.ref("v"), "-d", boot)
		sameTree(t, tree, filepath.Join(boot, "d/1/amd64"))
		return got
	}
	pull()
	save(t, tree, "vmlinuz", incompressible(3, 200<<10))
	if got := pull(); got.Bytes.Fetched > 400<<10 || got.Requests > 12 {
		t.Errorf("a file of 200 KiB changed: %+v", got)
	}
}
