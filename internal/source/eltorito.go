package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// efiPlatform is the platform of a boot catalog entry for UEFI (UEFI
// specification, section 13.3.2.1, on El Torito).
const efiPlatform = 0xef

// elTorito takes EFI/BOOT of the FAT image that the boot catalog names for UEFI.
func (i *isoImage) elTorito(ctx context.Context, catalog int64) error {
	b, err := i.bytes(extent{catalog, min(isoSector, max(i.a.size-catalog, 0))})
	if err != nil {
		return err
	}
	off := efiImage(b)
	if off == 0 || off*isoSector >= i.a.size {
		return nil
	}
	off *= isoSector
	fat, err := openFAT(io.NewSectionReader(i.a.at, off, i.a.size-off), i.a.size-off)
	if err != nil {
		// Other boot images, of firmware that has no FAT, are none of our concern.
		i.a.o.notes = append(i.a.o.notes, fmt.Sprintf("%q: what UEFI machines start from was not read: %v", i.a.name, err))
		return nil
	}
	return i.efiBoot(ctx, fat, off)
}

// efiImage finds the sector of the first image for UEFI in a boot catalog, or 0.
// Its size there is no help: it has 16 bits, and many writers leave it at a
// token value.
func efiImage(b []byte) int64 {
	if len(b) < 64 || b[0] != 1 || b[30] != 0x55 || b[31] != 0xaa {
		return 0
	}
	platform := b[1]
	for n := 32; n+32 <= len(b); n += 32 {
		e := b[n : n+32]
		switch {
		case e[0] == 0x90 || e[0] == 0x91:
			platform = e[1]
		case e[0] == 0x88 && platform == efiPlatform:
			return int64(binary.LittleEndian.Uint32(e[8:]))
		case e[0] == 0 && n > 32:
			return 0
		}
	}
	return 0
}

// efiBoot adds the files below EFI/BOOT of a FAT image that begins at off. What
// the medium has itself under such a name stays.
func (i *isoImage) efiBoot(ctx context.Context, fat *fatImage, off int64) error {
	dir := "EFI/BOOT"
	if have, ok := i.dirs[spec.FoldKey(dir)]; ok {
		dir = have
	}
	have := map[string]bool{}
	for name := range i.c.all {
		have[spec.FoldKey(name)] = true
	}
	return fat.walk(func(f fatFile) error {
		rest, ok := strings.CutPrefix(spec.FoldKey(f.name), spec.FoldKey("EFI/BOOT")+"/")
		if !ok || f.dir {
			return nil
		}
		name := path.Join(dir, f.name[len(f.name)-len(rest):])
		if have[spec.FoldKey(name)] {
			return nil
		}
		var p pieces
		for _, e := range f.extents {
			p = append(p, piece{i.a.at, off + e.off, e.size})
		}
		r, err := p.open(ctx)
		if err != nil {
			return err
		}
		return i.c.add(ctx, member{name: name, kind: spec.TypeFile, size: f.size, at: p}, r)
	})
}
