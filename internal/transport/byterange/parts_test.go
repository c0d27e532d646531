package byterange

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]ContentRange{
		"bytes 0-0/1":     {0, 1, 1},
		"bytes 10-19/100": {10, 20, 100},
		"Bytes 10-19/*":   {10, 20, -1},
		"bytes 0-9223372036854775806/9223372036854775807": {},
		"bytes 0-9223372036854775806/*":                   {},
	} {
		got, err := ParseContentRange(s)
		if want == (ContentRange{}) {
			want = got // the largest: only that it does not wrap
			if err == nil && got.To <= got.From {
				t.Errorf("%q: %+v", s, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "bytes", "bytes ", "bytes 1-2", "bytes */5", "bytes 2-1/5", "bytes 0-5/5", "bytes -1-2/5", "bytes +1-2/5",
		"bytes 1 -2/5", "bytes 1-2/ 5", "bytes  1-2/5", "items 1-2/5", "bytes 1-2/5 ", "bytes 1-2/x", "bytes 1-2/-5", "bytes 0x1-2/5",
		"bytes 1-99999999999999999999/*", "bytes 1-9223372036854775807/*", "bytes 1-2-3/9", "bytes 1-2/5/6", "bytes=1-2/5"} {
		if got, err := ParseContentRange(s); err == nil {
			t.Errorf("%q is accepted as %+v", s, got)
		}
	}
}

// readParts reads a whole body the way BlobRanges does.
func readParts(body io.Reader, contentType string) (parts []string, err error) {
	m, err := newPartReader(body, contentType)
	if err != nil {
		return nil, err
	}
	for {
		r, err := m.next()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return parts, err
		}
		b, err := io.ReadAll(m)
		parts = append(parts, fmt.Sprintf("%d:%s", r.From, b))
		if err == nil && int64(len(b)) != r.To-r.From {
			err = errors.New("part has another length than its range")
		}
		if err != nil {
			return parts, err
		}
	}
}

func TestPartReader(t *testing.T) {
	const ct = `multipart/byteranges; boundary=B`
	for _, tt := range []struct{ name, ct, body, want string }{
		{"two parts", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B\r\ncontent-range:bytes 5-6/9\r\nX: y\r\n\r\nfg\r\n--B--\r\n", "0:abc 5:fg"},
		{"no line end at the end", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B--", "0:abc"},
		{"space behind the boundary", ct, "\r\n--B \t\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B-- ", "0:abc"},
		{"text behind the end", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B--\r\nbye", "0:abc"},
		{"quoted boundary", `Multipart/Byteranges; boundary="a b"`, "--a b\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--a b--\r\n", "0:a"},
		{"content like a boundary", ct, "--B\r\nContent-Range: bytes 0-7/9\r\n\r\n--B--\r\nB\r\n--B--\r\n", "0:--B--\r\nB"},
		{"none", ct, "--B--\r\n", ""},
		{"delimiter inside", ct, "--B\r\nContent-Range: bytes 0-7/9\r\n\r\nab\r\n--Bcd\r\n--B--\r\n", "!"},
		{"short", ct, "--B\r\nContent-Range: bytes 0-3/9\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"long", ct, "--B\r\nContent-Range: bytes 0-1/9\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"text between", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\ntext\r\n--B--\r\n", "!"},
		{"ends in a part", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nab", "!"},
		{"ends after a part", ct, "--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc", "!"},
		{"ends in a header", ct, "--B\r\nContent-Ra", "!"},
		{"empty", ct, "", "!"},
		{"preamble", ct, "hello\r\n--B--\r\n", "!"},
		{"line feeds", ct, "--B\nContent-Range: bytes 0-2/9\n\nabc\n--B--\n", "!"},
		{"no range", ct, "--B\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"two ranges", ct, "--B\r\nContent-Range: bytes 0-2/9\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"bad range", ct, "--B\r\nContent-Range: bytes 2-0/9\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"compressed", ct, "--B\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B--\r\n", "!"},
		{"other boundary", ct, "--C\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--C--\r\n", "!"},
		{"longer boundary", ct, "--BC\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--BC--\r\n", "!"},
		{"endless header", ct, "--B\r\n" + strings.Repeat("X: y\r\n", 3000), "!"},
		{"endless line", ct, "--B\r\n" + strings.Repeat("x", 100000), "!"},
		{"no boundary", "multipart/byteranges", "", "!"},
		{"other type", "multipart/mixed; boundary=B", "--B--", "!"},
		{"not a type", "multipart/byteranges; boundary", "--B--", "!"},
		{"boundary of lines", "multipart/byteranges; boundary=\"a\r\nb\"", "--B--", "!"},
	} {
		for how, body := range map[string]io.Reader{
			"at once":      strings.NewReader(tt.body),
			"byte by byte": iotest.OneByteReader(strings.NewReader(tt.body)),
		} {
			got, err := readParts(body, tt.ct)
			if tt.want == "!" && !errors.Is(err, ErrParts) || tt.want != "!" && (err != nil || strings.Join(got, " ") != tt.want) {
				t.Errorf("%s, %s: %q, %v", tt.name, how, got, err)
			}
		}
	}
	broken := io.MultiReader(strings.NewReader("--B\r\nContent-Range: bytes 0-99/999\r\n\r\nabc"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if got, err := readParts(broken, ct); errors.Is(err, ErrParts) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a break is taken for a bad answer: %q, %v", got, err)
	}
}

// FuzzPartReader: no body makes the reader give more, or other bytes, than a
// part announces; and what the standard library writes is read.
func FuzzPartReader(f *testing.F) {
	f.Add([]byte("--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabc\r\n--B--\r\n"), "B", uint16(3))
	f.Add([]byte("\r\n--B\r\nContent-Range: bytes 0-2/9\r\n\r\nab\r\n--B--\r\n"), "B", uint16(1))
	f.Add([]byte("--B\r\nContent-Range: bytes 0-2/9\r\n\r\nabcd\r\n--B\r\n"), "B", uint16(700))
	f.Add([]byte("--B\r\nContent-Range: bytes 0-9223372036854775806/*\r\n\r\nabcd\r\n--B\r\n"), "B", uint16(2))
	f.Fuzz(func(t *testing.T, body []byte, boundary string, chunk uint16) {
		ct := `multipart/byteranges; boundary="` + boundary + `"`
		got, err := readParts(&chunkReader{body, int(chunk)%1000 + 1}, ct)
		total := 0
		for i, p := range got {
			_, content, _ := strings.Cut(p, ":")
			total += len(content)
			if whole := err == nil || i < len(got)-1; whole && strings.Contains(content, "\r\n--"+boundary) {
				t.Errorf("part %q holds the boundary %q", content, boundary)
			}
		}
		if total > len(body) {
			t.Errorf("%d bytes out of %d", total, len(body))
		}
		if again, err2 := readParts(bytes.NewReader(body), ct); (err == nil) != (err2 == nil) || err == nil && fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("read otherwise when it comes at once: %q %v, %q %v", got, err, again, err2)
		}
		checkStandardWriter(t, body)
	})
}

// checkStandardWriter reads content back out of a body that mime/multipart made.
func checkStandardWriter(t *testing.T, content []byte) {
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	if len(content) == 0 || bytes.Contains(content, []byte(w.Boundary())) {
		return
	}
	for range 2 {
		p, _ := w.CreatePart(textproto.MIMEHeader{"Content-Range": {fmt.Sprintf("bytes 0-%d/*", len(content)-1)}})
		_, _ = p.Write(content)
	}
	_ = w.Close()
	got, err := readParts(&buf, "multipart/byteranges; boundary="+w.Boundary())
	if want := "0:" + string(content); err != nil || len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("%q, %v", got, err)
	}
}

// chunkReader gives a body in pieces of n bytes.
type chunkReader struct {
	b []byte
	n int
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.n)], c.b)
	c.b = c.b[n:]
	return n, nil
}

// FuzzRangeBody: whatever a server answers, the bytes of a part are at the
// place that its own header says.
func FuzzRangeBody(f *testing.F) {
	f.Add("bytes 10-19/30", "", []byte("aaaaaaaaaa"))
	f.Add("", "multipart/byteranges; boundary=B", []byte("--B\r\nContent-Range: bytes 10-19/30\r\n\r\naaaaaaaaaa\r\n--B\r\nContent-Range: bytes 25-29/30\r\n\r\nbbbbb\r\n--B--"))
	f.Add("", "multipart/byteranges; boundary=B", []byte("--B\r\nContent-Range: bytes 10-29/30\r\n\r\naaaaaaaaaaaaaaabbbbb\r\n--B--"))
	f.Fuzz(func(t *testing.T, contentRange, contentType string, body []byte) {
		resp := &http.Response{StatusCode: 206, ContentLength: -1, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}}
		resp.Header.Set("Content-Range", contentRange)
		resp.Header.Set("Content-Type", contentType)
		asked := []Span{{10, 20}, {25, 30}}
		b, err := NewBody(resp, asked, 30)
		if err != nil {
			return
		}
		given := 0
		for _, want := range []int64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 25, 26, 27, 28, 29} {
			n, err := b.ReadForward(make([]byte, 1), want)
			if err != nil {
				break
			}
			given += n
		}
		b.Close()
		if given > len(body) {
			t.Errorf("%d bytes out of %d", given, len(body))
		}
	})
}
