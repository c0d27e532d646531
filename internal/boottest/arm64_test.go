package boottest

import (
	"crypto/rand"
	"path/filepath"
	"testing"
)

// TestBootARM64 boots a machine of the other architecture that servers have, from
// what the same commands make of Debian's package for it.
func TestBootARM64(t *testing.T) {
	l := newLab(t, "arm64")
	r := l.publish(t, "debian", "release "+rand.Text(), nil)
	dir := t.TempDir()
	live := l.pull(t, "debian", dir, r)
	// Where Debian's signed grub looks, whatever the path that it was loaded from.
	write(t, filepath.Join(dir, l.loaders, "grub/grub.cfg"), []byte(
		"linux /"+r.generation()+"/"+l.loaders+"/linux console=ttyAMA0 nbproof=arm64\n"+
			"initrd /"+r.generation()+"/"+l.loaders+"/proof.gz\nboot\n"))
	m := boot(t, virt(t, network(live+"/"+l.loaders+"/BOOT", tftp(dir)))...)
	proves(t, m.proof(t), r, "nbproof=arm64")
}
