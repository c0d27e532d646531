package cli

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"
)

// linePause is the least time between two progress lines where there is no
// terminal: seldom enough for a log, often enough to see that work goes on.
const linePause = 30 * time.Second

// maxBars bounds how many bars are drawn at once; more do not fit a screen.
const maxBars = 16

// inAll is the name of the bar for all the work.
const inAll = "in all"

// progress shows work in bars on a terminal and in lines elsewhere.
type progress struct {
	env *Env

	mu    sync.Mutex
	paint *painter // nil where there is no terminal
	names []string // of the bars, in the order in which their work began
	all   sum
	last  time.Time
}

func newProgress(e *Env) *progress {
	p := &progress{env: e, last: time.Now()}
	if f, ok := e.Stderr.(*os.File); ok && isTerminal(f) {
		p.paint = &painter{out: f, now: time.Now, columns: func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80
			}
			return columns
		}}
	}
	return p
}

// isTerminal tells whether f is a terminal that can move its cursor.
func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// report is the function that Env.Progress returns.
func (p *progress) report(name string, done, total int64) {
	p.mu.Lock()
	if p.paint != nil {
		p.draw(name, done, total)
		p.mu.Unlock()
		return
	}
	now := time.Now()
	due := now.Sub(p.last) >= linePause
	if due {
		p.last = now
	}
	p.mu.Unlock()
	if due {
		p.env.Info("%s", amount(name, done, total))
	}
}

// draw moves the bar of name, and the one of all; a finished one leaves the screen.
func (p *progress) draw(name string, done, total int64) {
	p.all.report(name, done, total)
	if at := slices.Index(p.names, name); total >= 0 && done >= total {
		if at >= 0 {
			p.names = slices.Delete(p.names, at, at+1)
		}
	} else if at < 0 {
		p.names = append(p.names, name)
	}
	p.paint.paint(p.lines())
}

// lines are the bars as they stand now, that of all the work below the others.
func (p *progress) lines() []string {
	names := p.names[:min(len(p.names), maxBars)]
	pad := 0
	if p.all.several() {
		pad = len(inAll)
	}
	for _, name := range names {
		pad = max(pad, len(OneLine(name)))
	}
	var lines []string
	for _, name := range names {
		piece := p.all.open[name]
		lines = append(lines, barLine(OneLine(name), pad, piece.done, piece.total))
	}
	if p.all.several() {
		done, total := p.all.figures()
		lines = append(lines, barLine(inAll, pad, done, total))
	}
	return lines
}

// print writes a line above the bars; false if there are none.
func (p *progress) print(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paint == nil {
		return false
	}
	p.paint.repaint(text, p.lines())
	return true
}

// stop removes what is still drawn.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paint == nil {
		return
	}
	p.paint.repaint("", nil)
	p.paint = nil
}

// amount says in words how far a piece of work is.
func amount(name string, done, total int64) string {
	if total < 0 {
		return fmt.Sprintf("%s: %s", name, bytesText(done))
	}
	return fmt.Sprintf("%s: %s of %s", name, bytesText(done), bytesText(total))
}

// bytesText writes a number of bytes for people, in binary units.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n)/unit, 0
	for value >= unit && suffix < 3 {
		value, suffix = value/unit, suffix+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[suffix])
}
