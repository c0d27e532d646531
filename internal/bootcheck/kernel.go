package bootcheck

import (
	"bytes"
	"encoding/binary"
)

// kernel is what is known of a Linux kernel.
type kernel struct {
	architecture string // in the names of OCI; empty if unknown
	version      string // as uname -r says it; empty if unknown
	search       bool   // the version has to be looked for in the whole file
	maybe        bool   // it is a kernel only if there is a version
	payload      span   // or in this compressed part of it
}

// parseKernel recognises a kernel by the beginning of its file:
//
//   - x86: the boot protocol's header, which points to the version
//   - arm64, riscv64: an Image, in plain
//   - the same compressed into an EFI program (zboot)
//   - arm: a zImage, whose version is compressed along with it
//   - others: an ELF executable
//
// The sources of Linux have the formats in Documentation/arch/*/boot*.rst and
// drivers/firmware/efi/libstub/zboot-header.S.
func parseKernel(head []byte) *kernel {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case has(0x202, "HdrS"):
		return parseBzImage(head)
	case has(0, "MZ") && has(4, "zimg"):
		return parseZboot(head)
	case has(0x38, "ARM\x64"):
		return &kernel{architecture: "arm64", search: true}
	case has(0x38, "RSC\x05"):
		return &kernel{architecture: "riscv64", search: true}
	case has(0x24, "\x18\x28\x6f\x01"):
		return &kernel{architecture: "arm"}
	case has(0, "\x7fELF"):
		return parseELF(head)
	}
	return nil
}

// parseBzImage takes Linux only: memdisk, memtest and iPXE have the same header,
// and their names where Linux has a version.
func parseBzImage(head []byte) *kernel {
	k := &kernel{architecture: "386"}
	if len(head) < 0x238 {
		return nil
	}
	if binary.LittleEndian.Uint16(head[0x236:])&1 != 0 { // XLF_KERNEL_64
		k.architecture = "amd64"
	}
	at := 0x200 + int(binary.LittleEndian.Uint16(head[0x20e:]))
	if at > 0x200 && at < len(head) {
		text, _, _ := bytes.Cut(head[at:min(len(head), at+maxVersion+1)], []byte{0})
		k.version = cutVersion(append(bytes.Clone(text), ' '))
	}
	if k.version == "" {
		return nil
	}
	return k
}

func parseZboot(head []byte) *kernel {
	k := &kernel{payload: span{int64(binary.LittleEndian.Uint32(head[8:])), int64(binary.LittleEndian.Uint32(head[12:]))}}
	if p, err := parsePE(head); err == nil {
		k.architecture = peArchitecture(p.machine)
	}
	return k
}

// parseELF takes executables only: the modules of grub are objects.
func parseELF(head []byte) *kernel {
	if len(head) < 20 {
		return nil
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[5] == 2 {
		order = binary.BigEndian
	}
	const executable, shared = 2, 3
	if kind := order.Uint16(head[16:]); kind != executable && kind != shared {
		return nil
	}
	k := &kernel{search: true, maybe: true}
	switch machine := order.Uint16(head[18:]); {
	case machine == 3:
		k.architecture = "386"
	case machine == 62:
		k.architecture = "amd64"
	case machine == 40:
		k.architecture = "arm"
	case machine == 183:
		k.architecture = "arm64"
	case machine == 21 && head[5] == 1:
		k.architecture = "ppc64le"
	case machine == 21:
		k.architecture = "ppc64"
	case machine == 22:
		k.architecture = "s390x"
	case machine == 243:
		k.architecture = "riscv64"
	case machine == 258:
		k.architecture = "loong64"
	}
	return k
}
