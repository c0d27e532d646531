package upstream

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
)

// The first bytes of what archives compress their Packages files with (RFC 1952,
// section 2.3.1; the .xz file format, section 2.1.1.1).
const (
	magicGzip = "\x1f\x8b"
	magicXZ   = "\xfd7zXZ\x00"
)

// packed tells whether a document is compressed, as only Packages files are.
func packed(b []byte) bool {
	return bytes.HasPrefix(b, []byte(magicGzip)) || bytes.HasPrefix(b, []byte(magicXZ))
}

// unpack undoes that, within the bound for documents.
func unpack(b []byte) ([]byte, error) {
	if !packed(b) {
		return b, nil
	}
	var r io.Reader
	var err error
	if bytes.HasPrefix(b, []byte(magicXZ)) {
		r, err = xz.NewReader(bytes.NewReader(b))
	} else {
		r, err = gzip.NewReader(bytes.NewReader(b))
	}
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err == nil && len(out) > MaxDocument {
		err = fmt.Errorf("it has more than %d bytes", MaxDocument)
	}
	return out, err
}
