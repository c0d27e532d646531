// Package boottest boots virtual machines from the trees that nbextract writes: the
// only proof that counts for a boot tree. Debian's real boot files are packed by
// nbpack, pushed to a registry, pulled by nbextract, and given to firmware, which
// runs without hardware support, in about 15 s each on a quiet machine.
package boottest

import (
	"bytes"
	"crypto/rand"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBoot is one test, because its machines share the registry and what is in it.
func TestBoot(t *testing.T) {
	l := newLab(t, "amd64")
	// Random, so that no boot can prove what another one got.
	first := l.publish(t, "debian", "first release "+rand.Text(), nil)
	dir, served := t.TempDir(), t.TempDir()
	live := l.pull(t, "debian", dir, first, "--menu", "grub,pxelinux,ipxe", "--menu-args", "console=ttyS0,115200n8 nbproof=generated")
	l.pull(t, "debian", served, first)

	// These boot from what nbextract wrote and nothing else.
	t.Run("BIOS", func(t *testing.T) {
		m := boot(t, bios(network("pxelinux.0", tftp(dir)))...)
		proves(t, m.proof(t), first, "nbproof=generated")
	})
	t.Run("iPXE from nbextract serve", func(t *testing.T) {
		_, port, err := net.SplitHostPort(l.serve(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		m := boot(t, bios(network("http://10.0.2.2:"+port+"/boot.ipxe"))...)
		m.await(t, "debian 12 (amd64)")
		m.typeIn(t, "\r")
		proves(t, m.proof(t), first, "nbproof=generated")
	})
	t.Run("UEFI with Secure Boot", func(t *testing.T) {
		m := boot(t, uefi(t, true, network(live+"/"+loaders+"/BOOT", tftp(dir)))...)
		m.await(t, "debian 12 (amd64)") // a title of the menu
		m.typeIn(t, "\r")
		proves(t, m.proof(t), first, "nbproof=generated")
		m.await(t, "Secure boot enabled")
	})
	t.Run("UEFI refuses an unsigned second stage", func(t *testing.T) {
		grub, err := os.ReadFile(filepath.Join(dir, live, loaders, "grubx64.efi"))
		if err != nil {
			t.Fatal(err)
		}
		bad := l.publish(t, "unsigned", "never started", map[string][]byte{loaders + "/grubx64.efi": unsigned(t, grub)})
		dir := t.TempDir()
		live := l.pull(t, "unsigned", dir, bad)
		grubConfig(t, dir, linux(live, "nbproof=unsigned"), initramfs(live), "boot")
		m := boot(t, uefi(t, true, network(live+"/"+loaders+"/BOOT", tftp(dir)))...)
		if text := m.await(t, "Security Violation", "Access Denied", "NBPROOF"); strings.Contains(text, "NBPROOF") {
			t.Error("it was started")
		}
	})

	// From here on the tag names other files under the same names.
	second := l.publish(t, "debian", "second release "+rand.Text(), nil)
	t.Run("UEFI updated after the kernel", func(t *testing.T) {
		// grub loads the kernel, and waits in its menu before it asks for the initrd.
		grubConfig(t, dir, linux(first.generation(), "nbproof=menu"), "set timeout=-1", "menuentry has-kernel {", initramfs(first.generation()), "}")
		m := boot(t, uefi(t, false, network(live+"/"+loaders+"/BOOT", tftp(dir)))...)
		m.await(t, "has-kernel")
		l.pull(t, "debian", dir, second)
		m.typeIn(t, "\r")
		proves(t, m.proof(t), first, "nbproof=menu")
	})
	t.Run("UEFI HTTP boot updated after the kernel", func(t *testing.T) {
		grubConfig(t, served, linux(live, "nbproof=http"), initramfs(live), "boot")
		g := newGate(t, l.serve(t, served), "/initrd.gz")
		card := network("http://"+guest+"/"+live+"/"+loaders+"/BOOT.efi", web(t, g.addr), tftp(served))
		m := boot(t, httpBoot(uefi(t, false, card))...)
		// Debian's signed grub is started by HTTP, but has no module for it, so it stops
		// and asks. Its package has the module; TFTP can bring it, and without Secure
		// Boot it may be loaded.
		m.await(t, "grub>")
		m.typeIn(t, "insmod (tftp,10.0.2.2)/"+live+"/"+loaders+"/grub/x86_64-efi/http.mod\r")
		m.typeIn(t, "configfile (http,"+guest+")/"+loaders+"/grub/grub.cfg\r")
		select {
		case <-g.asked:
			l.pull(t, "debian", served, second)
			close(g.pass)
		case <-m.ended:
		}
		// These paths are those of the live tree, not by-digest: that the initrd is of
		// the kernel's release is the doing of the server.
		proves(t, m.proof(t), first, "nbproof=http")
		if seen := g.requests(); !slices.Contains(seen, "GET /"+live+"/"+loaders+"//grubx64.efi") {
			t.Errorf("shim did not ask for grub beside itself: %q", seen)
		}
	})
}

// proves checks what init said: the initrd of that release, started with the
// arguments of the site.
func proves(t *testing.T, line string, r release, argument string) {
	t.Helper()
	for _, want := range []string{"sha256=" + r.sum + " ", argument} {
		if !strings.Contains(line, want) {
			t.Errorf("init says %q, without %q", line, want)
		}
	}
}

// grubConfig puts the site's grub.cfg where Debian's signed grub looks for it: at a
// path from the root of the server that was fixed when it was built.
func grubConfig(t *testing.T, dir string, lines ...string) {
	t.Helper()
	file := filepath.Join(dir, loaders, "grub/grub.cfg")
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) { // generated ones are not to be written to
		t.Fatal(err)
	}
	write(t, file, []byte(strings.Join(lines, "\n")+"\n"))
}

// linux and initramfs are the lines of a grub.cfg that load one file each.
func linux(tree, argument string) string {
	return fmt.Sprintf("linux /%s/%s/linux console=ttyS0,115200n8 %s", tree, loaders, argument)
}

func initramfs(tree string) string {
	return fmt.Sprintf("initrd /%s/%s/initrd.gz", tree, loaders)
}

// unsigned takes the signature off an EFI program: the entry of the certificates in
// the directory of its header, and what it names at the end of the file.
func unsigned(t *testing.T, program []byte) []byte {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	header, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY].Size == 0 {
		t.Fatal("the program is not signed")
	}
	certificates := header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY]
	var was [8]byte
	binary.LittleEndian.PutUint32(was[:], certificates.VirtualAddress)
	binary.LittleEndian.PutUint32(was[4:], certificates.Size)
	head := bytes.Index(program, was[:])
	if head < 0 || head > 4096 {
		t.Fatal("the header does not name the certificates")
	}
	stripped := bytes.Clone(program[:certificates.VirtualAddress])
	clear(stripped[head : head+len(was)])
	return stripped
}
