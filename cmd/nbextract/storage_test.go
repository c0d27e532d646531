//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// netbootContainerfile is a netboot image as people write it for buildah.
const netbootContainerfile = `FROM scratch
COPY SHA256SUM /
COPY EFI /EFI
COPY vmlinuz initrd.img /
LABEL org.pulpproject.netboot.version=1 \
      org.pulpproject.netboot.entrypoint=EFI/BOOT/shimx64.efi \
      org.pulpproject.netboot.altentrypoint=EFI/BOOT/grubx64.efi \
      org.pulpproject.netboot.os.name=fedora \
      org.pulpproject.netboot.os.version=42 \
      org.pulpproject.netboot.os.arch=amd64
`

// writeContext writes a directory that buildah builds a netboot image from.
func writeContext(t *testing.T, dir string) {
	t.Helper()
	script := `set -e
mkdir -p EFI/BOOT
printf shim > EFI/BOOT/shimx64.efi
printf grub > EFI/BOOT/grubx64.efi
ln -s shimx64.efi EFI/BOOT/BOOT
ln -s grubx64.efi EFI/BOOT/BOOTA
head -c 300000 /dev/zero | tr '\0' k > vmlinuz
head -c 700000 /dev/zero | tr '\0' i > initrd.img
sha256sum EFI/BOOT/grubx64.efi EFI/BOOT/shimx64.efi initrd.img vmlinuz > SHA256SUM
`
	tool(t, dir, "sh", "-c", script)
	if err := os.WriteFile(filepath.Join(dir, "Containerfile"), []byte(netbootContainerfile), 0o644); err != nil {
		t.Fatal(err)
	}
}

// needTools skips without the tools that fill container storage.
func needTools(t *testing.T, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: container storage is filled as root here")
	}
	for _, tool := range tools {
		testneed.Tool(t, tool)
	}
}

// tool runs a program in a directory and returns what it prints. podman refuses
// absolute layouts that have capital letters in their path.
func tool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// pullOK pulls an image and returns what is said about it.
func pullOK(t *testing.T, image, dir string, flags ...string) string {
	t.Helper()
	r := runHere(t, append([]string{"pull", image, "-d", dir}, flags...)...)
	if r.code != 0 {
		t.Fatalf("pull %s: exit code %d\n%s", image, r.code, r.stderr)
	}
	return r.stdout
}

// policy writes a signature policy for podman, which has no default of its own.
func policy(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(name, []byte(`{"default": [{"type": "insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPullFromStorage: an image gives the same boot tree from where it was built,
// from where it was pushed to, and from where podman pulled it to again.
func TestPullFromStorage(t *testing.T) {
	needTools(t, "buildah", "podman")
	for _, driver := range []string{"vfs", "overlay"} {
		t.Run(driver, func(t *testing.T) {
			work := t.TempDir()
			root := filepath.Join(work, "storage")
			t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, driver), unix.MNT_DETACH) })
			store := []string{"--root=" + root, "--runroot=" + testserver.ShortDir(t), "--storage-driver=" + driver}
			context, layout := t.TempDir(), "oci:layout:v1"
			writeContext(t, context)
			tool(t, work, "buildah", append(store, "build", "-q", "--layers", "--platform=linux/amd64", "-t", "localhost/netboot:v1", context)...)
			tool(t, work, "buildah", append(store, "push", "-q", "localhost/netboot:v1", layout)...)
			image := "containers-storage:[" + driver + "@" + root + "]netboot:v1"

			pullOK(t, image, filepath.Join(work, "built"))
			pullOK(t, "oci:"+work+"/layout:v1", filepath.Join(work, "pushed"))
			tool(t, work, "buildah", append(store, "rmi", "-a", "-f")...)
			id := tool(t, work, "podman", append(store, "pull", "-q", "--signature-policy="+policy(t), "oci:layout:v1")...)
			tool(t, work, "podman", append(store, "tag", id, "localhost/netboot:v1")...)
			pullOK(t, image, filepath.Join(work, "pulled"))
			for _, other := range []string{"built", "pulled"} {
				tool(t, "", "diff", "-r", filepath.Join(work, "pushed/fedora"), filepath.Join(work, other, "fedora"))
			}
			if got, err := os.Readlink(filepath.Join(work, "built/fedora/42/amd64/EFI/BOOT/BOOT")); err != nil || got != "shimx64.efi" {
				t.Errorf("BOOT is %q, %v", got, err)
			}
			if said := pullOK(t, image, filepath.Join(work, "pulled")); !strings.HasSuffix(said, " unchanged\n") {
				t.Errorf("the second pull says %q", said)
			}
		})
	}
}

// TestPullOurImageFromStorage: what nbpack built says nothing about its
// compression any more when podman has it, and is the same tree.
func TestPullOurImageFromStorage(t *testing.T) {
	needTools(t, "podman")
	work, tree := t.TempDir(), t.TempDir()
	writeContext(t, tree)
	tool(t, work, nbpackPath(t), "build", "-q", "--os-name=d", "--os-version=1", "--platform=linux/amd64",
		"--exclude=SHA256SUM", "--exclude=Containerfile", "--exclude=BOOT*", tree, "oci:layout:v1")
	root := filepath.Join(work, "storage")
	store := []string{"--root=" + root, "--runroot=" + testserver.ShortDir(t), "--storage-driver=vfs"}
	id := tool(t, work, "podman", append(store, "pull", "-q", "--signature-policy="+policy(t), "oci:layout:v1")...)
	pullOK(t, "oci:"+work+"/layout:v1", filepath.Join(work, "a"))
	pullOK(t, "containers-storage:[vfs@"+root+"]"+id, filepath.Join(work, "b"))
	tool(t, "", "diff", "-r", filepath.Join(work, "a/d"), filepath.Join(work, "b/d"))
	for _, dir := range []string{"a", "b"} {
		if r := runHere(t, "verify", "-d", filepath.Join(work, dir)); r.code != 0 {
			t.Errorf("verify %s: %s", dir, r.stderr)
		}
	}
}

// nobody is a user without privileges and without ranges of user IDs.
const nobody = 65534

// asNobody runs a program as a user whose home is dir.
func asNobody(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "XDG_RUNTIME_DIR=" + filepath.Join(dir, "run")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return string(out), err
}

// nobodysHome makes a home for that user, with this program in it.
func nobodysHome(t *testing.T) (home, nbextract string) {
	t.Helper()
	home, err := os.MkdirTemp("", "nbextract-home-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nbextract = filepath.Join(home, "nbextract") // TestMain goes by this name
	for _, dir := range []string{"context", "run", "system", "system/vfs-images"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(home, dir), 0o700))
	}
	writeContext(t, filepath.Join(home, "context"))
	err = errors.Join(err, os.WriteFile(filepath.Join(home, "system/vfs-images/images.lock"), nil, 0o600))
	tool(t, "", "cp", self, nbextract)
	tool(t, "", "chown", "-R", fmt.Sprintf("%d:%d", nobody, nobody), home)
	tool(t, "", "chown", "-R", "0:0", filepath.Join(home, "system"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asNobody(t, home, "test", "-x", nbextract); err != nil {
		t.Skipf("another user cannot reach %s", home)
	}
	return home, nbextract
}

// TestPullFromStorageRootless: a user reads the own store with and without a user
// namespace, and hears what to do where files belong to others.
func TestPullFromStorageRootless(t *testing.T) {
	needTools(t, "buildah")
	home, nbextract := nobodysHome(t)
	for _, driver := range []string{"vfs", "overlay"} {
		root := filepath.Join(home, driver)
		t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, driver), unix.MNT_DETACH) })
		if _, err := asNobody(t, home, "buildah", "--root="+root, "--runroot="+filepath.Join(home, "run", driver), "--storage-driver="+driver,
			"build", "-q", "--isolation=chroot", "--platform=linux/amd64", "-t", "localhost/netboot:v1", "context"); err != nil {
			t.Skipf("rootless buildah with %s does not work here: %v", driver, err)
		}
		image := "containers-storage:[" + driver + "@" + root + "]netboot:v1"
		for name, command := range map[string][]string{
			"plain":   {nbextract},
			"unshare": {"buildah", "unshare", nbextract},
		} {
			out, err := asNobody(t, home, command[0], append(command[1:], "pull", image, "-d", driver+"-"+name)...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(home, driver+"-"+name, "fedora/42/amd64/vmlinuz")); err != nil {
				t.Errorf("%s\n%v", out, err)
			}
		}
		tool(t, "", "diff", "-r", filepath.Join(home, driver+"-plain/fedora"), filepath.Join(home, driver+"-unshare/fedora"))
	}
	out, err := asNobody(t, home, nbextract, "pull", "containers-storage:[vfs@"+filepath.Join(home, "system")+"]netboot:v1", "-d", "no")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, "hint: ") || !strings.Contains(out, "podman unshare") {
		t.Errorf("the store of another user: %v", err)
	}
}
