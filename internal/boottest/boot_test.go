// Package boottest boots virtual machines from the trees that nbextract writes: the
// only proof that counts for a boot tree. Debian's real boot files are packed by
// nbpack, pushed to a registry, pulled by nbextract, and given to firmware, which
// runs without hardware support, in about 15 s each on a quiet machine.
package boottest

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestBoot is one test, because its machines share the registry and what is in it.
func TestBoot(t *testing.T) {
	l := newLab(t)
	// Random, so that no boot can prove what another one got.
	first := l.publish(t, "debian", "first release "+rand.Text(), nil)
	dir := t.TempDir()
	live := l.pull(t, "debian", dir, first)

	t.Run("BIOS", func(t *testing.T) {
		pxelinuxConfig(t, filepath.Join(dir, live), first, "")
		m := boot(t, bios(network(live+"/pxelinux.0", tftp(dir)))...)
		proves(t, m.proof(t), first, "nbproof=pxelinux")
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

// pxelinuxConfig puts the site's file for this machine into the live tree: pxelinux
// looks for one by hardware address before it takes the default, which the image has.
func pxelinuxConfig(t *testing.T, tree string, r release, more string) {
	t.Helper()
	write(t, filepath.Join(tree, "pxelinux.cfg", "01-"+strings.ReplaceAll(mac, ":", "-")), fmt.Appendf(nil, `SERIAL 0 115200
DEFAULT proof
%sLABEL proof
KERNEL ::%[2]s/linux
INITRD ::%[2]s/proof.gz
APPEND console=ttyS0,115200n8 nbproof=pxelinux
`, more, r.generation()+"/"+loaders))
}
