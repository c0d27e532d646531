package pack

import (
	"bytes"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// identifyLen is how many bytes of the beginning of a file identify looks at.
const identifyLen = 8

// The first bytes of files (QEMU's docs/interop/qcow2.txt; RFC 8878, section
// 3.1.1; RFC 1952, section 2.3.1).
const (
	magicQcow2 = "QFI\xfb"
	magicZstd  = "\x28\xb5\x2f\xfd"
	magicGzip  = "\x1f\x8b"
)

// identity is what a single file is.
type identity struct {
	diskType  string // empty if unknown
	mediaType string // of its layer
}

// identify finds out what a file is from its name and its first bytes, unless
// the user says it.
//
// Consumers such as Ironic decompress what has a media type that ends in zstd or
// gzip, and nothing else. So a disk image that is such a file says so. Kernels
// and ramdisks, which are often compressed too, do not: whoever starts them
// wants them as they are.
func identify(name string, begin []byte, given string) (identity, error) {
	packed := packedType(begin)
	qcow2 := bytes.HasPrefix(begin, []byte(magicQcow2))
	diskType := given
	if diskType == "" && qcow2 {
		diskType = spec.DiskTypeQcow2
	}
	if diskType == "" {
		diskType = nameType(name, packed)
	}
	// A disk image that is taken for another kind makes a machine read what its
	// content says as the description of a disk, or the reverse.
	if isQcow2 := diskType == spec.DiskTypeQcow2; packed == "" && isQcow2 != qcow2 {
		if qcow2 {
			return identity{}, refuse(ruleSourceType, name, "use --disktype qcow2", "is a qcow2 image, and not of disktype %s", diskType)
		}
		return identity{}, refuse(ruleSourceType, name, "use another --disktype", "does not begin as a qcow2 image does")
	}
	disk := diskType == spec.DiskTypeQcow2 || diskType == spec.DiskTypeRaw
	if disk && packed != "" {
		return identity{diskType, packed}, nil
	}
	return identity{diskType, spec.MediaTypeFile}, nil
}

// packedType gives the media type of a compressed file by its first bytes, or "".
func packedType(begin []byte) string {
	switch {
	case bytes.HasPrefix(begin, []byte(magicZstd)):
		return "application/zstd" // RFC 8878, section 7.1
	case bytes.HasPrefix(begin, []byte(magicGzip)):
		return "application/gzip" // RFC 6713
	}
	return ""
}

// nameType guesses the disktype from the name that a file usually has.
func nameType(name, packed string) string {
	name = strings.ToLower(name)
	switch {
	case hasPrefix(name, "vmlinuz", "vmlinux", "bzimage", "zimage"), name == "linux", name == "kernel":
		return spec.DiskTypeKernel
	case hasPrefix(name, "initrd", "initramfs", "ramdisk"):
		return spec.DiskTypeRamdisk
	}
	if packed != "" {
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".zst"), ".gz")
	}
	switch {
	case strings.HasSuffix(name, ".qcow2"):
		return spec.DiskTypeQcow2
	case strings.HasSuffix(name, ".raw"):
		return spec.DiskTypeRaw
	}
	return ""
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
