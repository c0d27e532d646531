package byterange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Body is the body of an answer to a request for spans: one part, or several in
// multipart/byteranges form. Servers may join parts; parts in another order than
// they were asked for are not used, because who reads them writes files from
// front to back.
//
// Its errors: ErrParts when the parts are not what was asked for, io.EOF when it
// is used up. Every other one means that the body broke off.
type Body struct {
	body  io.ReadCloser
	parts *partReader // nil: one part, without a frame
	asked []Span      // whose parts did not come yet
	size  int64       // of the resource

	pos, end int64 // what is left of the present part
	first    bool  // no part came yet
}

// NewBody looks at the head of an answer with status 206. Of several spans the
// server may send as many in one part as it joins. size is that of the resource.
func NewBody(resp *http.Response, asked []Span, size int64) (*Body, error) {
	b := &Body{body: resp.Body, asked: asked, size: size, first: true}
	if ct := resp.Header.Get("Content-Type"); len(asked) > 1 && strings.HasPrefix(strings.ToLower(ct), "multipart/") {
		parts, err := newPartReader(resp.Body, ct)
		if err != nil {
			return nil, err
		}
		b.parts = parts
		return b, nil
	}
	r, err := ParseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, partsError("%v", err)
	}
	if n := resp.ContentLength; n >= 0 && n != r.To-r.From {
		return nil, partsError("%d bytes where Content-Range announces %d", n, r.To-r.From)
	}
	if err := b.admit(r); err != nil {
		return nil, err
	}
	return b, nil
}

// admit accepts a part that begins where the next one asked for does, and ends
// where that or a later one does.
func (b *Body) admit(r ContentRange) error {
	if r.Total >= 0 && r.Total != b.size {
		return partsError("the blob has %d bytes there, its descriptor says %d", r.Total, b.size)
	}
	if len(b.asked) == 0 || r.From != b.asked[0].From {
		return partsError("part from byte %d on was not asked for now", r.From)
	}
	var gaps int64
	for i, s := range b.asked {
		if i > 0 {
			gaps += s.From - b.asked[i-1].To
		}
		if gaps > maxCoalesced || s.To > r.To {
			break
		}
		if s.To == r.To {
			b.asked, b.pos, b.end, b.first = b.asked[i+1:], r.From, r.To, false
			return nil
		}
	}
	return partsError("bytes %d-%d are not what was asked for", r.From, r.To-1)
}

// ReadForward reads some bytes at the place want, which lies in the present part,
// not before what was read of it, or at the beginning of the next.
func (b *Body) ReadForward(p []byte, want int64) (int, error) {
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
func (b *Body) advance() error {
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

// broken says where the body broke off, if that is what happened.
func (b *Body) broken(err error) error {
	if err == nil || errors.Is(err, ErrParts) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("at byte %d: %w", b.pos, err)
}

// Close ends the answer. When all that was wanted has come, what frames it is
// read too, so that the connection can be used again.
func (b *Body) Close() {
	if b.pos == b.end && len(b.asked) == 0 {
		_, _ = io.CopyN(io.Discard, b.body, 64<<10)
	}
	_ = b.body.Close()
}
