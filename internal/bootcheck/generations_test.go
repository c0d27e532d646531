package bootcheck

import (
	"bytes"
	"errors"
	"maps"
	"testing"
)

func TestGenerations(t *testing.T) {
	far := shimFile().bytes()
	for _, tt := range []struct {
		name string
		body []byte
		want map[string]int
	}{
		{"shim", far, map[string]int{"shim": 4}},
		{"PE32", peFile{wide32: true, sbat: sbatHead + "grub,3,x\ngrub.debian,1,x\n"}.bytes(), map[string]int{"grub": 3, "grub.debian": 1}},
		{"without a section", peFile{}.bytes(), map[string]int{}},
		{"cut off before the section", far[:4096], map[string]int{}},
		{"no numbers", peFile{sbat: "shim,many\nshim,-1\n,3\n"}.bytes(), map[string]int{}},
		{"a kernel", bzImage("6.1"), nil},
		{"text", []byte("#!ipxe"), nil},
		{"nothing", nil, nil},
	} {
		g, err := Generations(bytes.NewReader(tt.body))
		if err != nil || !maps.Equal(g, tt.want) || (g == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, %v; want %v", tt.name, g, err, tt.want)
		}
	}
	if g, err := Generations(broken{}); g != nil || !errors.Is(err, errBroken) {
		t.Errorf("a file that cannot be read: %v, %v", g, err)
	}
	for name, want := range map[string]bool{"shimx64.efi": true, "EFI/BOOTX64.EFI": true, "grubx64.efi.signed": true, "vmlinuz": false, "efi": false} {
		if Program(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errBroken }
