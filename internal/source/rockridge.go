package source

import (
	"encoding/binary"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// rockRidge is what the system use fields of a directory record say, as the
// System Use Sharing Protocol (IEEE P1281) and the Rock Ridge Interchange
// Protocol (IEEE P1282) describe them.
type rockRidge struct {
	longName  string
	link      bool
	target    string
	odd       string
	child     int64 // the sector of a directory that lies elsewhere
	relocated bool  // it is shown at another place
}

// sharing looks at the first record of the root directory for the field that
// says that there are such fields, and where they begin.
func (i *isoImage) sharing(use []byte) error {
	if len(use) >= 7 && string(use[:2]) == "SP" && use[4] == 0xbe && use[5] == 0xef {
		i.rock, i.skip = true, int(use[6])
	}
	return nil
}

// rockRidge reads the fields of one record, and those that continue elsewhere.
func (i *isoImage) rockRidge(b []byte) (rockRidge, error) {
	const most = 64 // continuations: a link target of 4096 bytes needs far fewer
	var r rockRidge
	var target linkTarget
	for n := 0; len(b) > 0; n++ {
		if n > most {
			return r, badArchive("", "a name in the ISO image has no end")
		}
		next, err := r.fields(b, &target)
		if err != nil {
			return r, err
		}
		if b = nil; next.size > 0 {
			if i.continued++; i.continued > maxMembers {
				return r, badArchive("", "the ISO image has too many long names")
			}
			if next.size > isoSector {
				return r, badArchive("", "a name in the ISO image is too long")
			}
			if b, err = i.bytes(next); err != nil {
				return r, err
			}
		}
	}
	r.target = target.String()
	if len(r.longName) > spec.MaxElementLen || len(r.target) > spec.MaxPathLen {
		return r, badArchive("", "a name in the ISO image is too long")
	}
	return r, nil
}

// fields reads one area of fields and gives where the next one is.
func (r *rockRidge) fields(b []byte, target *linkTarget) (next extent, err error) {
	for len(b) >= 4 && b[0] != 0 {
		n := int(b[2])
		if n < 4 || n > len(b) {
			return next, badArchive("", "a Rock Ridge field is cut off")
		}
		kind, f := string(b[:2]), b[4:n]
		b = b[n:]
		switch {
		case kind == "CE" && len(f) >= 24:
			next = extent{
				int64(binary.LittleEndian.Uint32(f))*isoSector + int64(binary.LittleEndian.Uint32(f[8:])),
				int64(binary.LittleEndian.Uint32(f[16:])),
			}
		case kind == "NM" && len(f) >= 1 && f[0]&6 == 0:
			r.longName += string(f[1:])
		case kind == "PX" && len(f) >= 4:
			r.mode(binary.LittleEndian.Uint32(f))
		case kind == "SL" && len(f) >= 1:
			target.add(f[1:])
		case kind == "CL" && len(f) >= 4:
			r.child = int64(binary.LittleEndian.Uint32(f))
		case kind == "RE":
			r.relocated = true
		case kind == "ZF":
			r.odd = "compressed file (zisofs)"
		case kind == "SF":
			r.odd = "sparse file"
		case kind == "ST":
			return next, nil
		}
	}
	return next, nil
}

// mode takes what is no directory, file or link for something odd.
func (r *rockRidge) mode(mode uint32) {
	switch mode & 0o170000 {
	case 0o040000, 0o100000, 0:
	case 0o120000:
		r.link = true
	case 0o010000:
		r.odd = "named pipe"
	case 0o140000:
		r.odd = "socket"
	default:
		r.odd = "device"
	}
}

// linkTarget puts the components of a link together.
type linkTarget struct {
	parts []string
	open  bool // the last part goes on
}

func (t *linkTarget) add(b []byte) {
	for len(b) >= 2 {
		flags, n := b[0], int(b[1])
		if 2+n > len(b) || len(t.parts) > spec.MaxPathLen {
			return
		}
		part := string(b[2 : 2+n])
		b = b[2+n:]
		switch {
		case flags&2 != 0:
			part = "."
		case flags&4 != 0:
			part = ".."
		case flags&8 != 0:
			part = "" // the root: the target begins with a slash
		}
		if t.open {
			t.parts[len(t.parts)-1] += part
		} else {
			t.parts = append(t.parts, part)
		}
		t.open = flags&1 != 0
	}
}

// String gives the target.
func (t *linkTarget) String() string {
	if len(t.parts) == 1 && t.parts[0] == "" {
		return "/"
	}
	return strings.Join(t.parts, "/")
}
