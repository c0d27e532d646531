package byterange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
)

const (
	// maxPartHeader bounds the header of one part of a multipart answer.
	maxPartHeader = 8 << 10
	// maxBoundary is what RFC 2046 allows.
	maxBoundary = 70
)

// ErrParts says that an answer is not one that can be used: it does not have the
// parts that were asked for, or not as a server has to write them.
var ErrParts = errors.New("unusable multipart answer")

func partsError(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrParts, fmt.Sprintf(format, a...))
}

// partReader reads a multipart/byteranges body (RFC 9110, section 14.6), one
// part after the other. The length of a part is what its Content-Range says,
// and the delimiter has to stand exactly behind it: one that comes earlier, or
// does not come, makes the answer unusable.
//
// Package mime/multipart is not used because it reads everything before a
// delimiter as content, skips any amount of text before the first one and
// allows headers of megabytes.
//
// Its errors are ErrParts for what the server sent, and the body's own.
type partReader struct {
	br    *bufio.Reader
	delim []byte // what begins the line between two parts
	began bool
	left  int64 // bytes of the current part
	clear int   // buffered bytes known to hold no delimiter and to be of this part
}

// newPartReader takes the boundary from the Content-Type of the answer.
func newPartReader(body io.Reader, contentType string) (*partReader, error) {
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil || mt != "multipart/byteranges" {
		return nil, partsError("media type %q", contentType)
	}
	b := params["boundary"]
	if b == "" || len(b) > maxBoundary || strings.ContainsAny(b, "\r\n") {
		return nil, partsError("boundary %q", b)
	}
	return &partReader{br: bufio.NewReaderSize(body, 64<<10), delim: []byte("\r\n--" + b)}, nil
}

// next goes to the next part, whose content must have been read, and says
// which it is. After the last one it gives io.EOF.
func (m *partReader) next() (ContentRange, error) {
	if m.left > 0 {
		return ContentRange{}, partsError("part was not read to its end")
	}
	room := maxPartHeader
	line, err := m.line(&room)
	// Nothing stands before the first delimiter but, in some servers, the
	// line end that belongs to it.
	if err == nil && (m.began || line == "") {
		if line != "" {
			return ContentRange{}, partsError("part is longer than its Content-Range")
		}
		line, err = m.line(&room)
	}
	m.began = true
	mark := string(m.delim[2:])
	if line = strings.TrimRight(line, " \t"); line == mark+"--" && (err == nil || err == io.EOF) {
		return ContentRange{}, io.EOF
	}
	if err != nil {
		return ContentRange{}, noEOF(err)
	}
	if line != mark {
		return ContentRange{}, partsError("%.80q instead of the boundary", line)
	}
	return m.header(&room)
}

// header reads the header of a part.
func (m *partReader) header(room *int) (ContentRange, error) {
	says := ""
	for {
		line, err := m.line(room)
		if err != nil {
			return ContentRange{}, noEOF(err)
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "content-range":
			if says != "" {
				return ContentRange{}, partsError("part with two ranges")
			}
			says = value
		case "content-encoding":
			if value != "identity" {
				return ContentRange{}, partsError("part with the content encoding %q", value)
			}
		}
	}
	r, err := ParseContentRange(says)
	if err != nil {
		return ContentRange{}, partsError("%v", err)
	}
	m.left, m.clear = r.To-r.From, 0
	return r, nil
}

// line reads a line without its end. What stands after the last line end comes
// with io.EOF.
func (m *partReader) line(room *int) (string, error) {
	b, err := m.br.ReadSlice('\n')
	if *room -= len(b); *room < 0 || err == bufio.ErrBufferFull {
		return "", partsError("header of a part is over %d bytes", maxPartHeader)
	}
	if err != nil {
		return string(b), err
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		return "", partsError("line %.80q does not end in CR LF", line)
	}
	return line, nil
}

// Read reads the content of the current part, io.EOF at its end.
func (m *partReader) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, io.EOF
	}
	if m.clear == 0 {
		if err := m.look(); err != nil {
			return 0, err
		}
	}
	n, err := m.br.Read(p[:min(len(p), m.clear)]) // from the buffer
	m.clear -= n
	m.left -= int64(n)
	return n, err
}

// look fills the buffer and finds out how much of it is this part's for sure:
// the last bytes could begin a delimiter that is not there whole yet.
func (m *partReader) look() error {
	for {
		b, _ := m.br.Peek(m.br.Buffered())
		if m.left < int64(len(b)) {
			b = b[:min(len(b), int(m.left)+len(m.delim)-1)]
		}
		if bytes.Contains(b, m.delim) {
			return partsError("part ends before its Content-Range does")
		}
		m.clear = int(min(m.left, int64(len(b)-len(m.delim)+1)))
		if m.clear > 0 {
			return nil
		}
		if _, err := m.br.Peek(m.br.Buffered() + 1); err != nil {
			m.clear = 0
			return noEOF(err)
		}
	}
}

// noEOF turns an end where none may be into an unusable answer.
func noEOF(err error) error {
	if err == io.EOF {
		return partsError("it ends in the middle")
	}
	return err
}
