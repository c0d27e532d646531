package bootcheck

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of what is kept of a PE file.
const (
	headSize   = 64 << 10 // bytes of the beginning in which all headers have to lie
	maxSection = 64 << 10 // bytes of a section that are kept
	maxUnnamed = 8        // sections that may be .sbatlevel
)

// program is what is known of a PE file (Microsoft's "PE Format"). debug/pe wants
// random access, and the architectures that it knows.
type program struct {
	machine uint16
	efi     bool  // its subsystem is one of UEFI's
	signed  bool  // it has an attribute certificate table
	end     int64 // of the last section and of the table
	sbat    span
	// unnamed are small sections whose name lies elsewhere in the file, as that
	// of shim's .sbatlevel does.
	unnamed []span
}

// span is a range of bytes of a file; none if size is 0.
type span struct{ offset, size int64 }

var errNotPE = errors.New("is not a PE file")

// parsePE reads the headers at the beginning of a file.
func parsePE(head []byte) (*program, error) {
	if len(head) < 64 || head[0] != 'M' || head[1] != 'Z' {
		return nil, errNotPE
	}
	at := int64(binary.LittleEndian.Uint32(head[60:]))
	if at > int64(len(head))-24 || string(head[at:at+4]) != "PE\x00\x00" {
		return nil, errNotPE
	}
	coff := head[at+4:]
	p := &program{machine: binary.LittleEndian.Uint16(coff)}
	sections := int(binary.LittleEndian.Uint16(coff[2:]))
	optional := int(binary.LittleEndian.Uint16(coff[16:]))
	if len(coff) < 20+optional+40*sections {
		return nil, errors.New("ends within its headers, or they are larger than those of any boot program")
	}
	if err := p.optional(coff[20 : 20+optional]); err != nil {
		return nil, err
	}
	for i := range sections {
		p.section(coff[20+optional+40*i:])
	}
	return p, nil
}

// optional reads the optional header: subsystem, and the entry of the attribute
// certificate table in the data directories.
func (p *program) optional(b []byte) error {
	if len(b) < 2 {
		return errors.New("has no optional header")
	}
	var directories int
	switch magic := binary.LittleEndian.Uint16(b); magic {
	case 0x10b:
		directories = 96
	case 0x20b:
		directories = 112
	default:
		return fmt.Errorf("has an optional header of the unknown kind %#x", magic)
	}
	if len(b) < directories {
		return errors.New("has an optional header that is too short")
	}
	subsystem := binary.LittleEndian.Uint16(b[68:])
	p.efi = subsystem >= 10 && subsystem <= 13
	const certificates = 4
	if binary.LittleEndian.Uint32(b[directories-4:]) <= certificates || len(b) < directories+8*certificates+8 {
		return nil
	}
	d := b[directories+8*certificates:]
	offset, size := int64(binary.LittleEndian.Uint32(d)), int64(binary.LittleEndian.Uint32(d[4:]))
	if p.signed = size > 0 && offset > 0; p.signed {
		p.end = offset + size
	}
	return nil
}

// section notes where a section ends, and where what it holds is to be kept.
func (p *program) section(b []byte) {
	at := span{int64(binary.LittleEndian.Uint32(b[20:])), int64(binary.LittleEndian.Uint32(b[16:]))}
	if at.size == 0 || at.offset == 0 {
		return
	}
	p.end = max(p.end, at.offset+at.size)
	at.size = min(at.size, maxSection)
	switch {
	case string(b[:8]) == ".sbat\x00\x00\x00":
		p.sbat = at
	case b[0] == '/' && at.size < maxSection && len(p.unnamed) < maxUnnamed:
		p.unnamed = append(p.unnamed, at)
	}
}

// peArchitecture gives the OCI architecture for the machine of a PE file.
func peArchitecture(machine uint16) string {
	switch machine {
	case 0x8664:
		return "amd64"
	case 0x14c:
		return "386"
	case 0xaa64:
		return "arm64"
	case 0x1c0, 0x1c2, 0x1c4:
		return "arm"
	case 0x5064:
		return "riscv64"
	case 0x6264:
		return "loong64"
	}
	return ""
}

// efiSuffix is how UEFI calls an architecture in file names (UEFI specification,
// section 3.5.1.1).
func efiSuffix(architecture string) string {
	switch architecture {
	case "amd64":
		return "x64"
	case "386":
		return "ia32"
	case "arm64":
		return "aa64"
	case "loong64":
		return "loongarch64"
	}
	return architecture
}
