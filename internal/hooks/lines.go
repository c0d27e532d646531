package hooks

import "bytes"

// maxLine is where a line of output is cut off.
const maxLine = 1024

// lines cuts what a program prints into lines. It keeps no more than one of
// them, whatever the program does.
type lines struct {
	out  func(line string)
	buf  []byte
	last string // last line that was not empty
}

// Write takes output; it never fails.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, found := bytes.Cut(b, []byte{'\n'})
		l.buf = append(l.buf, line[:min(len(line), max(maxLine+1-len(l.buf), 0))]...)
		if !found {
			return n, nil
		}
		l.end()
		b = rest
	}
}

// end hands the line over that is complete.
func (l *lines) end() {
	line := string(bytes.TrimRight(l.buf, "\r"))
	if len(l.buf) > maxLine {
		line = string(l.buf[:maxLine]) + "…"
	}
	l.buf = l.buf[:0]
	if line == "" {
		return
	}
	l.last = line
	if l.out != nil {
		l.out(line)
	}
}
