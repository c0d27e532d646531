package boottest

import (
	"crypto/rand"
	"testing"
)

// TestBootARM64 boots a machine of the other architecture that servers have, from
// what the same commands make of Debian's package for it, menu included.
func TestBootARM64(t *testing.T) {
	l := newLab(t, "arm64")
	r := l.publish(t, "debian", "release "+rand.Text(), nil)
	dir := t.TempDir()
	live := l.pull(t, "debian", dir, r, "--menu", "grub", "--menu-args", "console=ttyAMA0 nbproof=arm64")
	m := boot(t, virt(t, network(live+"/"+l.loaders+"/BOOT", tftp(dir)))...)
	proves(t, m.proof(t), r, "nbproof=arm64")
}
