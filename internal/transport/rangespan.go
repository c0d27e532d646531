package transport

import (
	"strconv"
	"strings"
)

const (
	// maxSpans is how many spans one request asks for. Apache gives the whole
	// file when it is asked for more than 200 at once, and a header with 100
	// has at most 4,100 bytes, of the 8 KiB that nginx and others allow.
	maxSpans = 100
	// spanGap is how many bytes that nobody wants are fetched rather than
	// beginning another part of an answer. docker-registry spends 0.3 ms on
	// each part, to seek in its file and to write 160 bytes of header, nginx a
	// thirtieth of that; a line of 100 Mbit/s brings 4 KiB in the time.
	spanGap = 4 << 10
	// requestGap is the same where each part is a request of its own. That
	// takes docker-registry 4 ms on this very machine, and elsewhere a round
	// trip more: 64 KiB need 5 ms at 100 Mbit/s.
	requestGap = 64 << 10
	// maxCoalesced is how much a server may put between the parts by joining
	// them. One that sends more is asked for one part at a time.
	maxCoalesced = 1 << 20
)

// span is a stretch of a blob that is asked for: the bytes from, up to but not
// including to.
type span struct{ from, to int64 }

// spansOf joins neighbouring ranges over gaps of at most gap bytes, and gives
// the first spans of them, at most limit. The first skip bytes of the first
// range are there already.
func spansOf(ranges []Range, skip, gap int64, limit int) []span {
	var spans []span
	for i, r := range ranges {
		s := span{r.Offset, r.Offset + r.Length}
		if i == 0 {
			s.from += skip
		}
		if n := len(spans); n > 0 && s.from-spans[n-1].to <= gap {
			spans[n-1].to = s.to
			continue
		}
		if len(spans) == limit {
			break
		}
		spans = append(spans, s)
	}
	return spans
}

// rangeHeader asks for spans. Both ends are always named: an open end would
// have the server send the rest of the blob.
func rangeHeader(spans []span) string {
	var b strings.Builder
	b.WriteString("bytes=")
	for i, s := range spans {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(s.from, 10))
		b.WriteByte('-')
		b.WriteString(strconv.FormatInt(s.to-1, 10))
	}
	return b.String()
}
