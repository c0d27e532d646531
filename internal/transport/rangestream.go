package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport/byterange"
	"github.com/nbpack/nbpack/spec"
)

// habit is what a server turned out to do with ranges. It is remembered for a
// run, so that the same useless request is sent once.
type habit int

const (
	rangesSingle habit = iota + 1 // one at a time
	rangesNone                    // ignores them
)

// errNoPart says that an endpoint does not give the part that it was asked for.
var errNoPart = errors.New("no such part")

// BlobRanges implements RangeReader.
func (r *registrySource) BlobRanges(ctx context.Context, d ocispec.Descriptor, ranges []Range, f func(i int, r io.Reader) error) error {
	if err := checkRanges(d, ranges); err != nil {
		return err
	}
	if len(ranges) == 0 {
		return nil
	}
	eps, err := r.blobPlaces(ctx, d)
	if err != nil {
		return err
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	s := &rangeStream{r: r, ctx: ctx, d: d, eps: eps, ranges: ranges}
	for _, part := range ranges {
		s.total += part.Length
	}
	defer s.disconnect()
	for i := range ranges {
		s.at, s.off, s.used = i, 0, s.used[:0]
		err := f(i, s)
		// What went wrong here counts, whatever f made of it.
		if err = cmp.Or(s.err, err); err != nil {
			return s.judge(err)
		}
		if s.off < ranges[i].Length {
			return fmt.Errorf("fetch %s: %w", partOf(d, ranges[i]), errUnread)
		}
		s.convict()
	}
	return nil
}

// rangeStream reads the parts of a blob that are wanted, one after the other,
// over as few requests as the server allows, and goes on where a connection
// broke. As an io.Reader it is the current part.
type rangeStream struct {
	r   *registrySource
	ctx context.Context
	d   ocispec.Descriptor
	eps []*endpoint // those not given up yet

	ranges []Range
	at     int   // the current part …
	off    int64 // … and what was delivered of it

	body        *byterange.Body // nil: not connected
	resp        *http.Response  // the answer that it is of
	done, total int64
	patience    patience
	err         error // sticky

	used []string // mirrors that gave some of the current part
	home error    // why the registry does not have it
}

// judge finds out whether an error may be the fault of mirrors: who reads a part
// refuses it when it is wrong.
func (s *rangeStream) judge(err error) error {
	if s.err != nil || len(s.used) == 0 || !errors.As(err, new(*spec.Refusal)) {
		return err
	}
	for _, mirror := range s.used {
		offset := s.ranges[s.at].Offset
		if strings.HasPrefix(mirror, ledTo) {
			offset = -1
		}
		s.r.s.c.health.Suspect(mirror, s.d.Digest, offset)
	}
	return &MirrorError{Mirrors: slices.Clone(s.used), Err: err}
}

// convict accuses those who gave the current part as something else, now that one
// from elsewhere was right.
func (s *rangeStream) convict() {
	part := s.ranges[s.at]
	for _, mirror := range s.r.s.c.health.Convicted(s.d.Digest, part.Offset, part.Length) {
		s.r.s.c.accuse(mirror, partOf(s.d, part))
	}
}

// Read implements io.Reader.
func (s *rangeStream) Read(p []byte) (int, error) {
	left := s.ranges[s.at].Length - s.off
	if s.err != nil || left == 0 {
		return 0, cmp.Or(s.err, io.EOF)
	}
	n, err := s.read(p[:min(int64(len(p)), left)])
	s.off += int64(n)
	s.done += int64(n)
	if n > 0 {
		s.r.s.c.progress(short(s.d.Digest), s.done, s.total)
	}
	if err != nil {
		s.err = fmt.Errorf("fetch %s: %w", partOf(s.d, s.ranges[s.at]), err)
	}
	return n, s.err
}

// read reads some bytes at the current place, over a new connection where the
// present one does not have them.
func (s *rangeStream) read(p []byte) (int, error) {
	for {
		// Closing the Source cancels ctx too, but from another goroutine.
		if err := cmp.Or(s.ctx.Err(), s.r.done.Err()); err != nil {
			return 0, err
		}
		var n int
		err := s.connect()
		if err == nil {
			n, err = s.body.ReadForward(p, s.ranges[s.at].Offset+s.off)
			err = brokenOff(err)
		}
		if n > 0 {
			s.used = s.r.s.c.use(s.used, s.eps[0], s.d.Digest, s.resp)
			return n, nil // an error comes again
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF): // the answer was good, and is used up
			s.disconnect()
		case errors.Is(err, byterange.ErrParts):
			s.note(s.eps[0], rangesSingle, err)
			s.disconnect()
		case errors.Is(err, errBroken) && s.mayLeave() && s.ctx.Err() == nil:
			s.disconnect()
			s.leave(err)
		case errors.Is(err, errBroken):
			s.disconnect()
			if err := s.patience.broke(s.ctx, s.r.s.c, s.d.Digest, s.done, err); err != nil {
				return 0, err
			}
		default:
			return 0, err
		}
	}
}

// brokenOff marks what the connection is to blame for.
func brokenOff(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, byterange.ErrParts) {
		return err
	}
	return fmt.Errorf("%w %w", errBroken, err)
}

// disconnect ends an answer. What little is left of it is read, so that the
// connection can be used again.
func (s *rangeStream) disconnect() {
	if s.body != nil {
		s.body.Close()
		s.body, s.resp = nil, nil
	}
}

// note remembers what an endpoint does with ranges.
func (s *rangeStream) note(e *endpoint, h habit, cause error) {
	s.r.s.c.habits.Store(e.host, h)
	s.r.s.c.logf("registry %q: %v", e.host, cause)
}

// connect asks for the rest of the parts, on the first endpoint that gives it.
func (s *rangeStream) connect() error {
	for s.body == nil {
		err := s.connectTo(s.eps[0])
		switch {
		case err == nil:
		case s.ctx.Err() != nil, errors.Is(err, errBroken), errors.Is(err, byterange.ErrParts):
			return err
		case len(s.eps) > 1:
			s.leave(err)
		case s.home != nil:
			return joinHome(s.home, err)
		case errors.Is(err, errNoPart):
			return fmt.Errorf("%w: %w", ErrNoRanges, err)
		default:
			return err
		}
	}
	return nil
}

// mayLeave and leave are those of blobStream.
func (s *rangeStream) mayLeave() bool { return len(s.eps) > 1 && s.eps[0].fixed != nil }

func (s *rangeStream) leave(err error) {
	if e := s.eps[0]; e.mirror == "" {
		s.home = err
	}
	if !errors.Is(err, errNoPart) { // it may be right as a whole
		s.eps[0].elsewhere(err)
	}
	s.eps = s.eps[1:]
}

// wanted are the parts that did not come yet, the current one from where it stands.
func (s *rangeStream) wanted() iter.Seq[byterange.Span] {
	return func(yield func(byterange.Span) bool) {
		skip := s.off
		for _, r := range s.ranges[s.at:] {
			if !yield(byterange.Span{From: r.Offset + skip, To: r.Offset + r.Length}) {
				return
			}
			skip = 0
		}
	}
}

func (s *rangeStream) connectTo(e *endpoint) error {
	known, _ := s.r.s.c.habits.Load(e.host)
	if known == rangesNone {
		return fmt.Errorf("%w: %q ignores ranges", errNoPart, e.host)
	}
	asked := byterange.Join(s.wanted(), byterange.PartGap, byterange.MaxSpans)
	if known == rangesSingle {
		asked = byterange.Join(s.wanted(), byterange.RequestGap, 1)
	}
	req, err := e.request(s.ctx, http.MethodGet, "blobs/"+s.d.Digest.String())
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Range", byterange.Header(asked))
	s.r.s.c.doubt(e, s.d.Digest, req)
	began := time.Now()
	resp, err := e.Do(req)
	if err != nil {
		return mayBeOfSeveral(err, asked)
	}
	took := time.Since(began)
	if s.body, err = s.begin(e, resp, asked); err != nil {
		_ = resp.Body.Close() // not read: it may be the whole blob
		return err
	}
	s.resp = resp
	if e.fixed != nil {
		s.r.s.c.health.Answered(e.mirror, took)
	}
	return nil
}

// mayBeOfSeveral gives a server that failed another chance, with one range at a
// time, unless it denied access.
func mayBeOfSeveral(err error, asked []byterange.Span) error {
	var status *StatusError
	var denied *AuthError
	if len(asked) > 1 && errors.As(err, &status) && !errors.As(err, &denied) {
		return fmt.Errorf("%w: %v", byterange.ErrParts, err)
	}
	return err
}

// begin looks at the head of an answer. Nothing of a body that is not what was
// asked for is read.
func (s *rangeStream) begin(e *endpoint, resp *http.Response, asked []byterange.Span) (*byterange.Body, error) {
	several := len(asked) > 1
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		return nil, &NotFoundError{Ref: s.r.s.ref.String(), What: "blob " + s.d.Digest.String(), advice: s.r.s.urlAdvice(s.d)}
	case code == http.StatusPartialContent:
	case several:
		return nil, fmt.Errorf("%w: several ranges are answered with status %d", byterange.ErrParts, code)
	case code == http.StatusOK:
		err := fmt.Errorf("%w: %q ignores ranges", errNoPart, e.host)
		s.note(e, rangesNone, err)
		return nil, err
	case code == http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("%w: %q says that the blob is shorter", errNoPart, e.host)
	default:
		return nil, statusError(resp)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fmt.Errorf("%w: %q answers with the content encoding %q", errNoPart, e.host, enc)
	}
	b, err := byterange.NewBody(resp, asked, s.d.Size)
	if err != nil && !several {
		return nil, fmt.Errorf("%w: %v", errNoPart, err) // not ErrParts: there is no smaller question
	}
	return b, err
}
