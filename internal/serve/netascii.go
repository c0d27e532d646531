package serve

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxText is how long a file may be that is asked for as text. Such transfers are
// converted in memory, because their blocks do not lie at known places of the file;
// they are for menus, and no firmware uses them.
const maxText = 1 << 20

// netascii gives a file as RFC 764 has text on the wire: a line ends in CR LF, a
// carriage return that ends none is followed by a zero.
func netascii(f *os.File, size int64) (*bytes.Reader, error) {
	if size > maxText {
		return nil, &errRequest{codeOther, fmt.Sprintf("longer than %d bytes: ask for it in octet mode", maxText)}
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, err
	}
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\r\x00"))
	b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
	return bytes.NewReader(b), nil
}
