package bootcheck

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// An initrd is a cpio archive in the "new ASCII" format, or several
// (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
const (
	cpioHeader  = 110
	cpioEnd     = "TRAILER!!!"
	maxModules  = 32 // kernel versions that are kept of an initrd
	moduleDirAt = "lib/modules/"
)

var errNotCPIO = errors.New("not a cpio header")

// isCPIO tells whether an archive begins here.
func isCPIO(b []byte) bool {
	return strings.HasPrefix(string(b), "070701") || strings.HasPrefix(string(b), "070702")
}

// readCPIO reads one archive to its end, and hands each name to entry.
func readCPIO(r *bufio.Reader, entry func(name string)) error {
	var header [cpioHeader]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return noEOF(err)
		}
		if !isCPIO(header[:]) {
			return errNotCPIO
		}
		size, err := cpioField(header[:], 6)
		if err != nil {
			return err
		}
		length, err := cpioField(header[:], 11)
		if err != nil {
			return err
		}
		if length < 1 || length > spec.MaxPathLen+1 {
			return fmt.Errorf("a name of %d bytes", length)
		}
		name := make([]byte, length+pad4(cpioHeader+length))
		if _, err := io.ReadFull(r, name); err != nil {
			return noEOF(err)
		}
		text := strings.TrimRight(string(name[:length]), "\x00")
		if text == cpioEnd {
			return nil
		}
		entry(text)
		if _, err := io.CopyN(io.Discard, r, size+pad4(size)); err != nil {
			return noEOF(err)
		}
	}
}

// cpioField reads one of the numbers in a header, each of eight hexadecimal
// digits.
func cpioField(header []byte, i int) (int64, error) {
	n, err := strconv.ParseUint(string(header[6+8*i:14+8*i]), 16, 32)
	if err != nil {
		return 0, errNotCPIO
	}
	return int64(n), nil
}

func pad4(n int64) int64 { return (4 - n%4) % 4 }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// moduleVersion gives the kernel version in a name below lib/modules, or "".
func moduleVersion(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "usr/"), moduleDirAt)
	if !ok {
		return ""
	}
	version, _, _ := strings.Cut(rest, "/")
	return cutVersion([]byte(version + " "))
}
