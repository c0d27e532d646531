package byterange

import (
	"iter"
	"strconv"
	"strings"
)

const (
	// MaxSpans is how many spans one request asks for. Apache gives the whole
	// file when it is asked for more than 200 at once, and a header with 100
	// has at most 4,100 bytes, of the 8 KiB that nginx and others allow.
	MaxSpans = 100
	// PartGap is how many bytes that nobody wants are fetched rather than
	// beginning another part of an answer. docker-registry spends 0.3 ms on
	// each part, to seek in its file and to write 160 bytes of header, nginx a
	// thirtieth of that; a line of 100 Mbit/s brings 4 KiB in the time.
	PartGap = 4 << 10
	// RequestGap is the same where each part is a request of its own. That
	// takes docker-registry 4 ms on this very machine, and elsewhere a round
	// trip more: 64 KiB need 5 ms at 100 Mbit/s.
	RequestGap = 64 << 10
	// maxCoalesced is how much a server may put between the parts by joining
	// them. One that sends more is asked for one part at a time.
	maxCoalesced = 1 << 20
)

// Span is a stretch of a resource that is asked for: the bytes From, up to but
// not including To.
type Span struct{ From, To int64 }

// Join makes spans of those that are wanted, which ascend, by joining neighbours
// over gaps of at most gap bytes. It gives the first of them, at most limit.
func Join(wanted iter.Seq[Span], gap int64, limit int) []Span {
	var spans []Span
	for s := range wanted {
		if n := len(spans); n > 0 && s.From-spans[n-1].To <= gap {
			spans[n-1].To = s.To
			continue
		}
		if len(spans) == limit {
			break
		}
		spans = append(spans, s)
	}
	return spans
}

// Header is the value of the Range header that asks for spans. Both ends are
// always named: an open end would have the server send the rest of the resource.
func Header(spans []Span) string {
	var b strings.Builder
	b.WriteString("bytes=")
	for i, s := range spans {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(s.From, 10))
		b.WriteByte('-')
		b.WriteString(strconv.FormatInt(s.To-1, 10))
	}
	return b.String()
}
