package extract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/spec"
)

// efiProgram makes a PE file for UEFI that is nothing but a .sbat section.
func efiProgram(lines ...string) string {
	const at = 512
	text := "sbat,1,SBAT Version,sbat,1,https://registry.example\n" + strings.Join(lines, "\n") + "\n"
	if len(lines) == 0 {
		text = ""
	}
	b := make([]byte, at, at+len(text))
	copy(b, "MZ")
	b[60] = 64
	copy(b[64:], "PE\x00\x00\x64\x86\x01\x00")
	b[64+20] = 112
	optional := b[88:]
	binary.LittleEndian.PutUint16(optional, 0x20b)
	optional[68] = 10
	section := b[200:]
	copy(section, ".sbat")
	binary.LittleEndian.PutUint32(section[16:], uint32(len(text)))
	binary.LittleEndian.PutUint32(section[20:], at)
	return string(append(b, text...))
}

// TestRevokedPrograms: an update must not bring a program of a lower generation.
func TestRevokedPrograms(t *testing.T) {
	shim := func(n int) string { return efiProgram(fmt.Sprintf("shim,%d,UEFI shim", n)) }
	grub := func(n, debian int) string {
		return efiProgram(fmt.Sprintf("grub,%d,FSF", n), fmt.Sprintf("grub.debian,%d,Debian", debian))
	}
	base := map[string]string{"shimx64.efi": shim(4), "grubx64.efi": grub(5, 2), "mmx64.efi": shim(4), "vmlinuz": "1"}
	early, late := time.Unix(1e9, 0), time.Unix(2e9, 0)
	for _, tt := range []struct {
		name    string
		was     map[string]string // base when nil
		now     map[string]string // over base; "-" takes away
		refused string            // part of the reason
	}{
		{name: "the same programs", now: map[string]string{"vmlinuz": "2"}},
		{name: "higher ones", now: map[string]string{"shimx64.efi": shim(5), "grubx64.efi": grub(6, 2)}},
		{name: "the same generations, another build", now: map[string]string{"shimx64.efi": shim(4) + "x"}},
		{name: "an older shim", now: map[string]string{"shimx64.efi": shim(3)}, refused: `"shimx64.efi": it is of SBAT generation 3 of "shim", and 4 is installed`},
		{name: "an older second stage", now: map[string]string{"grubx64.efi": grub(4, 2)}, refused: `of "grub"`},
		{name: "an older build of the distribution", now: map[string]string{"grubx64.efi": grub(5, 1)}, refused: `of "grub.debian"`},
		{name: "higher and lower", now: map[string]string{"grubx64.efi": grub(6, 1)}, refused: `of "grub.debian"`},
		{name: "without generations", now: map[string]string{"shimx64.efi": efiProgram()}, refused: "no SBAT generations"},
		{name: "under another name", now: map[string]string{"shimx64.efi": "-", "BOOTX64.EFI": shim(3)}, refused: `"BOOTX64.EFI"`},
		{name: "under another name, no lower", now: map[string]string{"shimx64.efi": "-", "shim.efi.signed": shim(4)}},
		{name: "one of the set was low before", was: map[string]string{"shimx64.efi": shim(4), "mmx64.efi": shim(3), "vmlinuz": "1"}, now: map[string]string{"mmx64.efi": shim(3) + "x"}},
		{name: "another loader", now: map[string]string{"grubx64.efi": efiProgram("systemd-boot,1,systemd")}},
		{name: "no longer there", now: map[string]string{"grubx64.efi": "-", "mmx64.efi": "-"}},
		{name: "no program", now: map[string]string{"grubx64.efi": "a text"}},
		{name: "there were none", was: map[string]string{"vmlinuz": "1", "shimx64.efi": efiProgram()}, now: map[string]string{"shimx64.efi": shim(1)}},
		{name: "a kernel is no question of this", was: map[string]string{"vmlinuz": shim(4)}, now: map[string]string{"vmlinuz": shim(3)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg, dir := testshelf.New(t), t.TempDir()
			was := tt.was
			if was == nil {
				was = base
			}
			now := map[string]string{}
			for name, body := range was {
				now[name] = body
			}
			for name, body := range tt.now {
				if now[name] = body; body == "-" {
					delete(now, name)
				}
			}
			all := Options{Platforms: []string{"all"}}
			reg.Push("a", "v", testshelf.Boot{Version: "1", Files: was, Created: &early})
			if _, err := pull(t, dir, reg, "a:v", all); err != nil {
				t.Fatal(err)
			}
			reg.Push("a", "v", testshelf.Boot{Version: "1", Files: now, Created: &late})
			r, err := pull(t, dir, reg, "a:v", all)
			if tt.refused == "" {
				if err != nil || changed(r) != 1 {
					t.Errorf("%v, %+v", err, r)
				}
				return
			}
			var refusal *spec.Refusal
			if !errors.As(err, &refusal) || refusal.ExitCode() != 3 || changed(r) != 0 {
				t.Fatalf("%v, %+v", err, r)
			}
			if !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), spec.RuleDowngrade) {
				t.Error(err)
			}
			if list, err := Verify(t.Context(), dir); err != nil || len(list) != 1 || problems(list) {
				t.Errorf("what is installed was touched: %v %+v", err, list)
			}
			all.AllowDowngrade = true
			if r, err := pull(t, dir, reg, "a:v", all); err != nil || changed(r) != 1 {
				t.Errorf("with AllowDowngrade: %v %+v", err, r)
			}
		})
	}
}

// TestRevokedWithoutGeneration: what is installed is found where the tree shows it, too,
// be it under another name than in the image.
func TestRevokedWithoutGeneration(t *testing.T) {
	shim := func(n int) string { return efiProgram(fmt.Sprintf("shim,%d,UEFI shim", n)) }
	early, late := time.Unix(1e9, 0), time.Unix(2e9, 0)
	for layout, program := range map[string]string{"default": "shimx64.efi", "debian": "debian-installer/amd64/bootnetx64.efi", "cobbler": "efi/shimx64.efi"} {
		for name, lose := range map[string]string{"the generation": "", "the program in it": program} {
			t.Run(layout+" without "+name, func(t *testing.T) {
				reg, dir := testshelf.New(t), t.TempDir()
				b := testshelf.Boot{Version: "1", Files: map[string]string{program: shim(4), "efi/grubx64.efi": efiProgram()}, Created: &early}
				b.Labels = map[string]string{spec.LabelEntrypoint: program, spec.LabelAltEntrypoint: "efi/grubx64.efi"}
				o := Options{Layouts: []string{layout}}
				old := reg.Push("a", "v", b)
				if _, err := pull(t, dir, reg, "a:v", o); err != nil {
					t.Fatal(err)
				}
				for _, place := range []string{"by-digest/" + old.Digest.Encoded() + "/" + lose, "netboot"} { // Cobbler's loaders stand beside that
					if err := os.RemoveAll(filepath.Join(dir, place)); err != nil {
						t.Fatal(err)
					}
				}
				b.Files = map[string]string{program: shim(3), "efi/grubx64.efi": efiProgram()}
				b.Created = &late
				reg.Push("a", "v", b)
				if _, err := pull(t, dir, reg, "a:v", o); err == nil || !strings.Contains(err.Error(), "of SBAT generation 3") {
					t.Error(err)
				}
			})
		}
	}
}
