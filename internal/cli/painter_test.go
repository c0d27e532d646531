package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// screen plays the few escape sequences of a painter on lines.
func screen(t *testing.T, out string) []string {
	t.Helper()
	lines := []string{""}
	for out != "" {
		if rest, ok := strings.CutPrefix(out, "\x1b["); ok {
			n := 0
			for rest[0] >= '0' && rest[0] <= '9' {
				n, rest = n*10+int(rest[0]-'0'), rest[1:]
			}
			if rest, ok = strings.CutPrefix(rest[1:], "\r\x1b[J"); !ok || n >= len(lines) {
				t.Fatalf("moves up %d of %d lines, then %q", n, len(lines), rest)
			}
			lines, out = append(lines[:len(lines)-1-n:len(lines)-1-n], ""), rest
			continue
		}
		if out[0] == '\n' {
			lines = append(lines, "")
		} else {
			lines[len(lines)-1] += out[:1]
		}
		out = out[1:]
	}
	return lines
}

func TestBars(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &progress{paint: &painter{out: &out, columns: func() int { return 60 }, now: func() time.Time { now = now.Add(time.Second); return now }}}
	want := func(lines ...string) {
		t.Helper()
		if got := screen(t, out.String()); strings.Join(got, "|") != strings.Join(append(lines, ""), "|") {
			t.Errorf("the screen shows\n%s", strings.Join(got, "\n"))
		}
	}
	p.report("one", 512, 1024)
	want("one [===============>              ]  50%  512 B / 1.0 KiB")
	p.report("two", 10, -1)
	want("one    [===============>              ]  50%  512 B / 1.0 K",
		"two     10 B",
		"in all [===============>              ]  50%  522 B / 1.0 K")
	if !p.print("a line\n") {
		t.Error("print does nothing")
	}
	p.report("one", 1024, 1024)
	p.report("two\x1b[2J\n", 3, 4)
	if got := out.String(); strings.Contains(got, "\x1b[2J") {
		t.Error("a name moves the cursor")
	}
	p.stop()
	want("a line")
	if p.print("x") {
		t.Error("it prints after the end")
	}
}

// TestBarsPause draws seldom, but forgets nothing.
func TestBarsPause(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1, 0)
	p := &progress{paint: &painter{out: &out, columns: func() int { return 80 }, now: func() time.Time { return now }}}
	for i := range int64(1000) {
		p.report("one", i, 1000)
	}
	if n := strings.Count(out.String(), "one"); n != 1 {
		t.Errorf("drawn %d times", n)
	}
	now = now.Add(paintPause)
	p.report("one", 999, 1000)
	if !strings.Contains(out.String(), " 99%") {
		t.Errorf("not drawn: %q", out.String())
	}
}
