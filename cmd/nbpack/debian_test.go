package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/ulikunitz/xz"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/testneed"
)

// debianPool is where the recipe looks for the packages of the installer.
const debianPool = "pool/main/d/debian-installer-netboot-images"

// debianMirror makes a mirror of the packages in dir, signed by a key of its own,
// and gives it, the keyring and the version of the packages.
func debianMirror(t *testing.T, dir string) (mirror, keyring, build string) {
	t.Helper()
	mirror = t.TempDir()
	debs, err := filepath.Glob(filepath.Join(dir, "debian-installer-12-netboot-*_all.deb"))
	if err != nil || len(debs) < 4 {
		testneed.Missing(t, "NBPACK_TEST_DEBS has %d packages of the installer, not 4", len(debs))
	}
	pool, dists := filepath.Join(mirror, debianPool), filepath.Join(mirror, "dists/bookworm/main/binary-all")
	for _, d := range []string{pool, dists} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var packages bytes.Buffer
	for _, deb := range debs {
		b, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(deb)
		if err := os.Symlink(deb, filepath.Join(pool, base)); err != nil {
			t.Fatal(err)
		}
		name, rest, _ := strings.Cut(base, "_")
		build = strings.TrimSuffix(rest, "_all.deb")
		fmt.Fprintf(&packages, "Package: %s\nFilename: %s/%s\nSHA256: %x\n\n", name, debianPool, base, sha256.Sum256(b))
	}
	var packed bytes.Buffer
	x, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write(packages.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	key, err := openpgp.NewEntity("Archive", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var ring, release bytes.Buffer
	if err := key.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	w, err := clearsign.Encode(&release, key.PrivateKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(w, "Origin: Debian\nSHA256:\n %x %d main/binary-all/Packages.xz\n", sha256.Sum256(packed.Bytes()), packed.Len())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	keyring = filepath.Join(mirror, "keys.gpg")
	for file, b := range map[string][]byte{
		keyring: ring.Bytes(), filepath.Join(dists, "Packages.xz"): packed.Bytes(), filepath.Join(mirror, "dists/bookworm/InRelease"): append(release.Bytes(), '\n'),
	} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return mirror, keyring, build
}

// TestDebianRecipe packs the real packages of Debian's installer for four
// architectures, if they are in the directory that NBPACK_TEST_DEBS names
// (apt-get download puts them there).
func TestDebianRecipe(t *testing.T) {
	dir := os.Getenv("NBPACK_TEST_DEBS")
	if dir == "" {
		testneed.Missing(t, "NBPACK_TEST_DEBS names no directory with packages")
	}
	mirror, keyring, build := debianMirror(t, dir)
	recipe := []string{"build", "-f", "../../containerfiles/debian/nbpack.yaml", "--set", "MIRROR=" + mirror, "--set", "KEYRING=" + keyring, "--set", "BUILD=" + build}
	dst := "oci:" + filepath.Join(t.TempDir(), "layout") + ":debian-12"
	var stdout, stderr bytes.Buffer
	if code := cli.Run(t.Context(), app(), append(recipe, "--json", dst), &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	var out recipeOutput
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range out.Platforms {
		got = append(got, p.Platform)
		if (strings.HasSuffix(p.Platform, "amd64") || strings.HasSuffix(p.Platform, "arm64")) && p.Labels["org.pulpproject.netboot.entrypoint"] == "" {
			t.Errorf("%s has no entrypoint", p.Platform)
		}
	}
	if want := "linux/amd64 linux/arm64 linux/ppc64le linux/arm/v7"; strings.Join(got, " ") != want || out.IndexDigest == "" {
		t.Errorf("got %v", got)
	}
	if s := stderr.String(); strings.Contains(s, "no publisher's checksum") {
		t.Error(s)
	}
	stdout.Reset()
	if code := cli.Run(t.Context(), app(), []string{"inspect", dst + "-armv7"}, &stdout, &stderr); code != 0 ||
		!strings.Contains(stdout.String(), "verified-by=main/binary-all/Packages.xz@sha256:") || !strings.Contains(stdout.String(), "VERSION") {
		t.Errorf("exit %d: %s%s", code, stdout.String(), stderr.String())
	}

	// One package that is not what the archive says, and nothing is packed.
	bad := filepath.Join(mirror, debianPool, "debian-installer-12-netboot-armhf_"+build+"_all.deb")
	b, err := os.ReadFile(bad)
	if err == nil {
		err = os.Remove(bad)
	}
	if err == nil {
		b[len(b)-1] ^= 1
		err = os.WriteFile(bad, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	if code := cli.Run(t.Context(), app(), append(recipe, "--only", "armhf", dst), &stdout, &stderr); code != 3 || !strings.Contains(stderr.String(), "Packages.xz says") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}
