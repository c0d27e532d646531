package archive

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

const (
	blockSize = 512
	// maxExtended bounds the extended headers of one entry, as archive/tar does.
	maxExtended = 1 << 20
	// octalSizeMax is the largest size that the octal field of a header holds.
	octalSizeMax = 1<<33 - 1

	paxXattr = "SCHILY.xattr."
)

// tarScanner walks a tar stream. It frames the stream itself and leaves only the
// meaning of header fields to archive/tar, for two reasons. It keeps the raw
// bytes of everything that is not content, which tar-split needs. And it sees
// what archive/tar hides: a header that two programs could read differently (a
// PAX size beside another size in the header, two extended headers, a directory
// with content) is refused here, because one reader would find entries in what
// another takes for content.
//
// Only regular files, directories, symbolic and hard links pass.
type tarScanner struct {
	r    io.Reader
	left int64        // content of the current entry that was not read yet
	pad  int64        // zero padding behind it
	raw  bytes.Buffer // padding of the previous entry and headers of the current one

	// skip, if set, passes over content that nobody read, without reading it.
	skip func(n int64) error
}

// rawBytes returns what lay between the content of the previous entry and that
// of the current one; at the end, what was read of the end marker. It is valid
// until the next call of next.
func (s *tarScanner) rawBytes() []byte { return s.raw.Bytes() }

// next skips to the next entry. It returns io.EOF at the end marker, or where
// the stream ends between two entries, which some writers consider an end too.
func (s *tarScanner) next() (*tar.Header, error) {
	if err := s.skipContent(); err != nil {
		return nil, err
	}
	s.raw.Reset()
	if err := s.take(s.pad); err != nil {
		return nil, err
	}
	begin := int(s.pad)
	s.pad = 0
	var seen metaHeaders
	for {
		block, err := s.block()
		if err != nil {
			if err == io.EOF && !seen.any() {
				return nil, io.EOF
			}
			return nil, truncated(err)
		}
		if !seen.any() && isZero(block) {
			return nil, io.EOF
		}
		size, err := parseSize(block[124:136])
		if err != nil {
			return nil, err
		}
		if !isMeta(block[156]) {
			return s.entry(s.raw.Bytes()[begin:], block[156], size)
		}
		if err := seen.add(block[156]); err != nil {
			return nil, err
		}
		if size > maxExtended-int64(s.raw.Len()) {
			return nil, refuseHeader("", "extended header of %d bytes is too long", size)
		}
		if err := s.take(size + padding(size)); err != nil {
			return nil, err
		}
		if block[156] == tar.TypeXGlobalHeader {
			if err := checkGlobal(s.raw.Bytes()[begin:]); err != nil {
				return nil, err
			}
			begin = s.raw.Len()
			seen = metaHeaders{}
		}
	}
}

// skipContent passes over what is left of the current content.
func (s *tarScanner) skipContent() error {
	if s.skip == nil || s.left == 0 {
		_, err := io.Copy(io.Discard, s)
		return err
	}
	err := s.skip(s.left)
	s.left = 0
	return err
}

// entry lets archive/tar read the collected headers, and compares what it makes
// of them with what was framed.
func (s *tarScanner) entry(headers []byte, flag byte, size int64) (*tar.Header, error) {
	if flag == tar.TypeGNUSparse || bytes.Contains(headers, []byte("GNU.sparse.")) || bytes.Contains(headers, []byte("SCHILY.realsize")) {
		return nil, spec.Refuse(spec.RuleTarHeader, "", "sparse file, header %q", headerName(headers))
	}
	rest := bytes.NewReader(headers)
	h, err := tar.NewReader(rest).Next()
	if err != nil {
		return nil, refuseHeader("", "bad tar header: %v", err)
	}
	if rest.Len() != 0 {
		return nil, refuseHeader(h.Name, "ambiguous extended header")
	}
	if err := checkType(h, flag); err != nil {
		return nil, err
	}
	if h.Size != size && !(size == 0 && h.Size > octalSizeMax) {
		return nil, spec.Refuse(spec.RuleTarHeader, h.Name, "the tar header says %d bytes, its extended header %d", size, h.Size)
	}
	if h.Typeflag != tar.TypeReg && h.Size != 0 {
		return nil, spec.Refuse(spec.RuleTarHeader, h.Name, "%d bytes of content for an entry that is no regular file", h.Size)
	}
	s.left, s.pad = h.Size, padding(h.Size)
	return h, nil
}

// Read reads the content of the current entry.
func (s *tarScanner) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF {
		err = nil
		if s.left > 0 {
			err = truncated(io.ErrUnexpectedEOF)
		}
	}
	return n, err
}

// drain reads the rest of the stream behind the end marker into w. Anything but
// zero bytes is refused: another reader might take it for more entries.
func (s *tarScanner) drain(w io.Writer) error {
	buf := make([]byte, 32<<10)
	for {
		// Full reads, so that what w gets does not depend on how the stream arrives.
		n, err := io.ReadFull(s.r, buf)
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		if !isZero(buf[:n]) {
			return spec.Refuse(spec.RuleLayerStream, "", "data behind the end of the tar archive")
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// block reads one header block; io.EOF only when not a byte was there.
func (s *tarScanner) block() ([]byte, error) {
	var b [blockSize]byte
	n, err := io.ReadFull(s.r, b[:])
	s.raw.Write(b[:n])
	if err == io.ErrUnexpectedEOF && isZero(b[:n]) {
		err = io.EOF // an odd number of zero bytes at the end is padding
	}
	return b[:], err
}

func (s *tarScanner) take(n int64) error {
	_, err := io.CopyN(&s.raw, s.r, n)
	if err != nil {
		return truncated(err)
	}
	return nil
}

// metaHeaders notes the extended headers in front of an entry. Readers disagree
// about two of one kind, and about PAX and GNU headers together.
type metaHeaders struct{ pax, longName, longLink bool }

func (m *metaHeaders) any() bool { return m.pax || m.longName || m.longLink }

func (m *metaHeaders) add(flag byte) error {
	was := *m
	switch flag {
	case tar.TypeXHeader:
		m.pax = true
	case tar.TypeGNULongName:
		m.longName = true
	case tar.TypeGNULongLink:
		m.longLink = true
	case tar.TypeXGlobalHeader:
		if m.any() {
			return refuseHeader("", "global header behind an extended header")
		}
		return nil
	}
	if was == *m || m.pax && (m.longName || m.longLink) {
		return refuseHeader("", "more than one extended header for one entry")
	}
	return nil
}

func isMeta(flag byte) bool {
	switch flag {
	case tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
		return true
	}
	return false
}

// checkType refuses other types, and names that make one reader see a directory
// where another sees a file.
func checkType(h *tar.Header, flag byte) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
		if strings.HasSuffix(h.Name, "/") {
			return refuseHeader(h.Name, "name of a directory for an entry of type %q", flag)
		}
		return nil
	}
	return spec.Refuse(spec.RuleEntryType, h.Name, "tar entry of type %q (%s)", flag, typeName(flag))
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a fifo"
	}
	return "neither file, directory nor link"
}

// checkGlobal refuses global PAX headers that change what entries are or where
// they lie: archive/tar ignores these, other readers apply them.
func checkGlobal(headers []byte) error {
	h, err := tar.NewReader(bytes.NewReader(headers)).Next()
	if err != nil {
		return refuseHeader("", "bad global header: %v", err)
	}
	for key := range h.PAXRecords {
		switch key {
		case "comment", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname":
		default:
			return refuseHeader("", "global header sets %q", key)
		}
	}
	return nil
}

// parseSize reads the size field of a header block: octal digits between spaces
// and NULs, or base 256. It is a little stricter than archive/tar, whose answer
// has to be the same.
func parseSize(field []byte) (int64, error) {
	if field[0]&0x80 != 0 {
		var n int64
		for i, b := range field {
			if i == 0 {
				b &= 0x7f
			}
			if n > 1<<54 {
				return 0, refuseHeader("", "size in tar header is too large or negative")
			}
			n = n<<8 | int64(b)
		}
		return n, nil
	}
	var n int64
	for _, c := range bytes.Trim(field, " \x00") {
		if c < '0' || c > '7' {
			return 0, refuseHeader("", "size %q in tar header is not octal", field)
		}
		n = n<<3 | int64(c-'0')
	}
	return n, nil
}

func padding(size int64) int64 { return -size & (blockSize - 1) }

func headerName(headers []byte) string {
	if len(headers) < 100 {
		return ""
	}
	name, _, _ := bytes.Cut(headers[:100], []byte{0})
	return string(name)
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func refuseHeader(path, format string, args ...any) error {
	return spec.Refuse(spec.RuleTarHeader, path, format, args...)
}

// truncated turns the end of the stream at a wrong place into a refusal and
// leaves other errors alone; a source that broke gives a wrapped error.
func truncated(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return spec.Refuse(spec.RuleLayerStream, "", "the tar archive is cut off")
	}
	return err
}
