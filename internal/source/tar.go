package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// isTar tells whether a block is the header of a tar archive: by the magic of
// ustar and GNU tar, and by its checksum.
func isTar(b []byte) bool {
	return len(b) >= 512 && string(b[257:262]) == "ustar" && tarSum(b[:512])
}

// tarSum proves the checksum of a header: the sum of its bytes, with those of the
// checksum itself taken as blanks.
func tarSum(b []byte) bool {
	want, err := strconv.ParseInt(strings.Trim(string(b[148:156]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	var sum int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum == want
}

// openPlainTar reads a tar archive whose files can stay where they are.
func openPlainTar(ctx context.Context, a *archiveFile) error {
	a.keep = true
	in := a.reader()
	c := newCollector(a.s, a.name, rule{})
	at := func() (int64, error) { return in.Seek(0, io.SeekCurrent) }
	if err := readTar(ctx, c, in, func(h *tar.Header) (content, error) {
		off, err := at()
		if err == nil && h.Size > a.size-off {
			err = badArchive(a.name, "%q is cut off", h.Name)
		}
		return piece{at: a.at, off: off, size: h.Size}, err
	}); err != nil {
		return err
	}
	return a.finish(c)
}

// openTar reads a compressed tar archive and keeps what is wanted of it.
func openTar(ctx context.Context, a *archiveFile) error {
	c := newCollector(a.s, a.name, rule{})
	begin, err := beginning(a.reader(), 16)
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	d, err := newDecoder(codecOf(begin), &ctxReader{ctx, a.reader()}, a.size)
	if err != nil {
		return fmt.Errorf("reading %q: %w", a.name, err)
	}
	defer d.Close()
	if err := readTar(ctx, c, d, nil); err != nil {
		return err
	}
	return a.finish(c)
}

// finish notes what an archive holds.
func (a *archiveFile) finish(c *collector) error {
	a.o.entries = append(a.o.entries, c.entries...)
	a.o.facts = append(a.o.facts, c.facts.list...)
	return nil
}

// readTar hands the members of a tar archive to c, and reads r to its end, so
// that what is promised of its end is kept. If place is set, it tells where the
// content is that follows.
func readTar(ctx context.Context, c *collector, r io.Reader, place func(*tar.Header) (content, error)) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading %q: %w", c.origin, explainTar(c.origin, err))
		}
		m := tarMember(h)
		if m.kind == spec.TypeFile && place != nil && m.odd == "" {
			if m.at, err = place(h); err != nil {
				return fmt.Errorf("reading %q: %w", c.origin, err)
			}
		}
		if err := c.add(ctx, m, t); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, &ctxReader{ctx, r}); err != nil {
		return fmt.Errorf("reading %q: %w", c.origin, err)
	}
	return nil
}

// explainTar makes refusals of errors of the tar format.
func explainTar(name string, err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badArchive(name, "not a valid tar archive: %v", err)
	}
	return err
}

// tarMember understands a header.
func tarMember(h *tar.Header) member {
	m := member{name: h.Name, size: h.Size, kind: spec.TypeFile}
	switch h.Typeflag {
	case tar.TypeReg:
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				m.odd = "sparse file"
			}
		}
	case tar.TypeDir:
		m.kind = spec.TypeDir
	case tar.TypeSymlink:
		m.kind, m.target = spec.TypeSymlink, h.Linkname
	case tar.TypeLink:
		m.kind, m.target = spec.TypeHardlink, h.Linkname
	case tar.TypeChar, tar.TypeBlock:
		m.odd = "device"
	case tar.TypeFifo:
		m.odd = "named pipe"
	case tar.TypeGNUSparse:
		m.odd = "sparse file"
	default:
		m.odd = fmt.Sprintf("tar entry of type %q", h.Typeflag)
	}
	return m
}
