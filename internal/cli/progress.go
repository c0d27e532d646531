package cli

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// linePause is the least time between two progress lines where there is no
// terminal: seldom enough for a log, often enough to see that work goes on.
const linePause = 30 * time.Second

// maxBars bounds how many bars are drawn at once; more do not fit a screen.
const maxBars = 64

// progress shows work in bars on a terminal and in lines elsewhere.
type progress struct {
	env *Env

	mu     sync.Mutex
	bars   *mpb.Progress // nil where there is no terminal
	byName map[string]*mpb.Bar
	all    sum
	allBar *mpb.Bar // below the others; nil as long as there was one piece of work
	last   time.Time
}

func newProgress(e *Env) *progress {
	p := &progress{env: e, byName: map[string]*mpb.Bar{}, last: time.Now()}
	if isTerminal(e.Stderr) {
		p.bars = mpb.New(mpb.WithOutput(e.Stderr), mpb.WithWidth(40))
	}
	return p
}

// isTerminal tells whether w is a terminal that can move its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// report is the function that Env.Progress returns.
func (p *progress) report(name string, done, total int64) {
	p.mu.Lock()
	if p.bars != nil {
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
	if p.allBar == nil && p.all.several() {
		p.allBar = p.addBar("in all", 0, mpb.BarPriority(math.MaxInt))
	}
	if p.allBar != nil {
		done, total := p.all.figures()
		p.allBar.SetTotal(total, false)
		p.allBar.SetCurrent(done)
	}
	bar := p.byName[name]
	if bar == nil {
		if len(p.byName) >= maxBars {
			return
		}
		bar = p.addBar(name, max(total, 0), mpb.BarRemoveOnComplete())
		p.byName[name] = bar
	}
	bar.SetCurrent(done)
	if total >= 0 && done >= total {
		bar.SetTotal(total, true)
		delete(p.byName, name)
	}
}

func (p *progress) addBar(name string, total int64, o mpb.BarOption) *mpb.Bar {
	return p.bars.AddBar(total, o,
		mpb.PrependDecorators(decor.Name(OneLine(name)+" ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Counters(decor.SizeB1024(0), "% .1f / % .1f")))
}

// print writes a line above the bars; false if there are none.
func (p *progress) print(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return false
	}
	_, err := io.WriteString(p.bars, text)
	return err == nil
}

// stop removes what is still drawn and waits for the painter to end.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bars == nil {
		return
	}
	for _, bar := range p.byName {
		bar.Abort(true)
	}
	if p.allBar != nil {
		p.allBar.Abort(true)
	}
	p.bars.Wait()
	p.bars = nil
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
