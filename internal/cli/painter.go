package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// paintPause is the least time between two pictures, so that fast work is not
// slowed down by a terminal.
const paintPause = 100 * time.Millisecond

// barWidth is the length of a bar in columns.
const barWidth = 30

// painter keeps a block of lines at the bottom of a terminal. It draws when it is
// told something, and has no goroutine of its own. A library would do, but those
// that are well kept compute tables of character widths at every start, which is
// more work than all the rest of a run that finds nothing new.
type painter struct {
	out     io.Writer
	columns func() int // of the terminal
	now     func() time.Time
	drawn   int // lines that are on the screen
	last    time.Time
}

// paint puts lines in the place of those before, unless it did so just now.
func (p *painter) paint(lines []string) {
	if now := p.now(); now.Sub(p.last) >= paintPause {
		p.last = now
		p.repaint("", lines)
	}
}

// repaint writes text, which ends with a newline or is empty, above the lines.
func (p *painter) repaint(text string, lines []string) {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", p.drawn) // up, and clear to the end of the screen
	}
	b.WriteString(text)
	width := max(p.columns()-1, 20)
	for _, l := range lines {
		// A line that wraps would be counted as one and leave traces.
		b.WriteString(cutTo(l, width) + "\n")
	}
	p.drawn = len(lines)
	_, _ = io.WriteString(p.out, b.String()) // a terminal that is gone needs no picture
}

// cutTo makes s at most width columns wide. Characters outside of ASCII may be
// wider than one column; they are written by their numbers.
func cutTo(s string, width int) string {
	q := fmt.Sprintf("%+q", s)
	if q = q[1 : len(q)-1]; strings.ContainsFunc(s, func(r rune) bool { return r > '~' || r < ' ' }) {
		s = q
	}
	if len(s) > width {
		s = s[:width]
	}
	return s
}

// barLine draws one bar. total is at most 0 where it is not known.
func barLine(name string, pad int, done, total int64) string {
	if total <= 0 {
		return fmt.Sprintf("%-*s  %s", pad, name, bytesText(done))
	}
	done = min(max(done, 0), total)
	full := int(float64(done) / float64(total) * barWidth)
	bar := strings.Repeat("=", full)
	if full < barWidth {
		bar += ">" + strings.Repeat(" ", barWidth-full-1)
	}
	return fmt.Sprintf("%-*s [%s] %3d%%  %s / %s", pad, name, bar, int(float64(done)/float64(total)*100), bytesText(done), bytesText(total))
}
