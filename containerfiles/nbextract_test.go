package containerfiles_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNbextractImage builds the image of nbextract without the network, and runs
// it as a cluster does: as a user without privileges, on a volume whose root was
// given to a group (fsGroup with OnRootMismatch).
func TestNbextractImage(t *testing.T) {
	buildah := newBuildah(t)
	need(t, "go")
	t.Setenv("CGO_ENABLED", "0")
	commands := buildCommands(t)
	dir := t.TempDir()
	staged, volume := filepath.Join(dir, "build"), filepath.Join(dir, "volume")
	writeFile(t, staged+"/etc/ssl/certs/ca-certificates.crt", "")
	writeFile(t, dir+"/context/empty", "")
	writeFile(t, dir+"/in/tree/vmlinuz", "kernel")
	writeFile(t, dir+"/in/tree/shimx64.efi", "shim")
	writeFile(t, dir+"/in/catalog.yaml", "destination: /boot/tree\nimages: [{ref: 'oci:/in/image:v'}]\n")
	command(t, commands["nbpack"], "build", "--os-name", "d", "--os-version", "1", "--platform", "amd64", dir+"/in/tree", "oci:"+dir+"/in/image:v")
	program, err := os.ReadFile(commands["nbextract"])
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, staged+"/usr/bin/nbextract", string(program))
	writeFile(t, volume+"/lost+found/x", "")
	for _, err := range []error{
		os.Chmod(staged+"/usr/bin/nbextract", 0o755), os.Chmod(dir, 0o755), // the user inside is another one
		os.Chown(volume, -1, 65532), os.Chmod(volume, 0o775|os.ModeSetgid), os.Chmod(volume+"/lost+found", 0o700),
	} {
		if err != nil {
			t.Skip("not root: ", err)
		}
	}

	buildah.run(t, "bud", "--isolation", "chroot", "--build-context", "build="+staged, "-f", "nbextract/Containerfile", "-t", "nbextract", dir+"/context")
	run := func(args ...string) string {
		return strings.TrimSpace(string(command(t, "buildah", append(slices.Clone(buildah), args...)...)))
	}
	container := run("from", "nbextract")
	sync := func(args ...string) string {
		return run(append([]string{"run", "--isolation", "chroot", "-v", dir + "/in:/in:ro", "-v", volume + ":/boot",
			container, "/usr/bin/nbextract", "sync", "-c", "/in/catalog.yaml"}, args...)...)
	}
	if out := sync(); !strings.Contains(out, "d/1/amd64 sha256:") || !strings.Contains(out, " changed: ") {
		t.Errorf("first run: %s", out)
	}
	if out := sync("--checksum"); !strings.Contains(out, "0 trees changed, 1 unchanged") {
		t.Errorf("second run: %s", out)
	}
	if fi, err := os.Stat(volume + "/tree/d/1/amd64/vmlinuz"); err != nil || fi.Mode() != 0o444 {
		t.Errorf("the kernel: %v, %v", fi, err)
	}
}
