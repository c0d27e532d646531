package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// rangeBody is the body of an answer to a request for spans: one part, or
// several in multipart/byteranges form. Servers may join parts; parts in
// another order than they were asked for are not used, because who reads them
// writes files from front to back.
//
// Its errors: errParts when the parts are not what was asked for, errBroken
// when the body broke off, io.EOF when it is used up.
type rangeBody struct {
	resp  *http.Response
	body  io.ReadCloser
	parts *partReader // nil: one part, without a frame
	asked []span      // whose parts did not come yet
	size  int64       // of the blob

	pos, end int64 // what is left of the present part
	first    bool  // no part came yet
}

// newRangeBody looks at the head of an answer with status 206.
func newRangeBody(resp *http.Response, asked []span, size int64) (*rangeBody, error) {
	b := &rangeBody{resp: resp, body: resp.Body, asked: asked, size: size, first: true}
	if ct := resp.Header.Get("Content-Type"); len(asked) > 1 && strings.HasPrefix(strings.ToLower(ct), "multipart/") {
		var err error
		b.parts, err = newPartReader(resp.Body, ct)
		return b, err
	}
	r, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, partsError("%v", err)
	}
	if n := resp.ContentLength; n >= 0 && n != r.to-r.from {
		return nil, partsError("%d bytes where Content-Range announces %d", n, r.to-r.from)
	}
	return b, b.admit(r)
}

// admit accepts a part that begins where the next one asked for does, and ends
// where that or a later one does.
func (b *rangeBody) admit(r contentRange) error {
	if r.total >= 0 && r.total != b.size {
		return partsError("the blob has %d bytes there, its descriptor says %d", r.total, b.size)
	}
	if len(b.asked) == 0 || r.from != b.asked[0].from {
		return partsError("part from byte %d on was not asked for now", r.from)
	}
	var gaps int64
	for i, s := range b.asked {
		if i > 0 {
			gaps += s.from - b.asked[i-1].to
		}
		if gaps > maxCoalesced || s.to > r.to {
			break
		}
		if s.to == r.to {
			b.asked, b.pos, b.end, b.first = b.asked[i+1:], r.from, r.to, false
			return nil
		}
	}
	return partsError("bytes %d-%d are not what was asked for", r.from, r.to-1)
}

// readAt reads some bytes at a place that lies in the present part or at the
// beginning of the next.
func (b *rangeBody) readAt(p []byte, want int64) (int, error) {
	if b.pos == b.end {
		if err := b.advance(); err != nil {
			return 0, err
		}
	}
	if want < b.pos || want >= b.end {
		return 0, partsError("byte %d is not where it was asked for", want)
	}
	r := io.Reader(b.body)
	if b.parts != nil {
		r = b.parts
	}
	n64, err := io.CopyN(io.Discard, r, want-b.pos) // between joined parts
	b.pos += n64
	if err != nil {
		return 0, b.broken(err)
	}
	n, err := r.Read(p[:min(int64(len(p)), b.end-b.pos)])
	b.pos += int64(n)
	if b.pos == b.end {
		err = nil
	}
	return n, b.broken(err)
}

// advance goes to the next part.
func (b *rangeBody) advance() error {
	if b.parts == nil {
		return io.EOF
	}
	r, err := b.parts.next()
	switch {
	case err == io.EOF && b.first:
		return partsError("there are none")
	case err == io.EOF:
		return err
	case err != nil:
		return b.broken(err)
	}
	return b.admit(r)
}

// broken marks what the connection is to blame for.
func (b *rangeBody) broken(err error) error {
	if err == nil || errors.Is(err, errParts) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w at byte %d: %w", errBroken, b.pos, err)
}

// close ends the answer. When all that was wanted has come, what frames it is
// read too, so that the connection can be used again.
func (b *rangeBody) close() {
	if b.pos == b.end && len(b.asked) == 0 {
		_, _ = io.CopyN(io.Discard, b.body, 64<<10)
	}
	_ = b.body.Close()
}
