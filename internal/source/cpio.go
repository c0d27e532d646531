package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/nbpack/nbpack/spec"
)

// The "new ASCII" format of cpio: headers of 110 characters, numbers in
// hexadecimal, names and contents padded to 4 bytes.
const (
	cpioHeader = 110
	cpioEnd    = "TRAILER!!!"
)

// cpioEntry is one header.
type cpioEntry struct {
	name         string
	inode, links uint32
	dev          uint64
	mode         uint32
	size         int64
}

// cpioReader walks an archive.
type cpioReader struct {
	r    io.Reader
	left int64 // content of the current entry that was not read yet
	pad  int64
}

// next skips to the next entry; io.EOF at the end.
func (c *cpioReader) next() (*cpioEntry, error) {
	if _, err := io.CopyN(io.Discard, c.r, c.left+c.pad); err != nil {
		return nil, noEOF(err)
	}
	c.left, c.pad = 0, 0
	var b [cpioHeader]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return nil, noEOF(err)
	}
	if magic := string(b[:6]); magic != "070701" && magic != "070702" {
		return nil, badArchive("", "not a valid cpio header: %q", magic)
	}
	var f [13]uint32
	for i := range f {
		n, err := strconv.ParseUint(string(b[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return nil, badArchive("", "not a valid cpio header")
		}
		f[i] = uint32(n)
	}
	e := &cpioEntry{inode: f[0], mode: f[1], links: f[4], size: int64(f[6]), dev: uint64(f[7])<<32 | uint64(f[8])}
	length := int64(f[11])
	if length < 1 || length > spec.MaxPathLen+1 {
		return nil, badArchive("", "a name of %d bytes in a cpio archive", length)
	}
	name := make([]byte, length+pad4(cpioHeader+length))
	if _, err := io.ReadFull(c.r, name); err != nil {
		return nil, noEOF(err)
	}
	if e.name = string(name[:length-1]); e.name == cpioEnd {
		return nil, io.EOF
	}
	c.left, c.pad = e.size, pad4(e.size)
	return e, nil
}

func pad4(n int64) int64 { return (4 - n%4) % 4 }

// Read reads the content of the current entry.
func (c *cpioReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		if err = nil; c.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// inode names a file that has several names.
type inode struct {
	dev uint64
	ino uint32
}

// readCPIO hands the members of an archive to c. Of a file with several names
// only the last has the content, so the others wait for it.
func readCPIO(ctx context.Context, c *collector, r io.Reader) error {
	in := &cpioReader{r: r}
	waiting := map[inode][]member{}
	for {
		e, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %q: %w", c.origin, cpioError(c.origin, err))
		}
		m, err := cpioMember(e, in)
		if err != nil {
			return fmt.Errorf("reading %q: %w", c.origin, err)
		}
		id := inode{e.dev, e.inode}
		if m.kind == spec.TypeFile && e.links > 1 && e.size == 0 {
			waiting[id] = append(waiting[id], m)
			continue
		}
		names := waiting[id]
		if m.kind != spec.TypeFile || e.links < 2 {
			names = nil
		}
		delete(waiting, id)
		if err := c.addNames(ctx, append(names, m), in); err != nil {
			return err
		}
	}
	for _, names := range waiting { // empty files with several names
		for _, m := range names {
			if err := c.add(ctx, m, in); err != nil {
				return err
			}
		}
	}
	_, err := io.Copy(io.Discard, &ctxReader{ctx, r})
	return err
}

// addNames adds a file that has several names; r is its content.
func (c *collector) addNames(ctx context.Context, names []member, r io.Reader) error {
	size, first := names[len(names)-1].size, ""
	for _, m := range names {
		full, err := cleanName(m.name)
		if err != nil {
			return fmt.Errorf("in %q: %w", c.origin, err)
		}
		if _, wanted := c.choose(full, m); !wanted {
			continue
		}
		if m.size = size; first != "" {
			m.kind, m.target = spec.TypeHardlink, first
		}
		if err := c.add(ctx, m, r); err != nil {
			return err
		}
		if first == "" {
			first = full
		}
	}
	return nil
}

// cpioMember understands a header.
func cpioMember(e *cpioEntry, r io.Reader) (member, error) {
	m := member{name: e.name, size: e.size, kind: spec.TypeFile}
	switch e.mode & 0o170000 {
	case 0o100000:
	case 0o040000:
		m.kind = spec.TypeDir
	case 0o120000:
		if e.size > spec.MaxPathLen {
			return m, badArchive("", "a link target of %d bytes in a cpio archive", e.size)
		}
		b, err := io.ReadAll(r)
		m.kind, m.target = spec.TypeSymlink, string(b)
		return m, err
	case 0o010000:
		m.odd = typeName(fs.ModeNamedPipe)
	case 0o140000:
		m.odd = typeName(fs.ModeSocket)
	default:
		m.odd = typeName(fs.ModeDevice)
	}
	return m, nil
}

// cpioError makes refusals of what is cut off.
func cpioError(name string, err error) error {
	if err == io.ErrUnexpectedEOF {
		return badArchive(name, "the cpio archive is cut off")
	}
	return err
}
