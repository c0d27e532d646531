package extract

import (
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

type holds map[string]bool

func (h holds) Holds(sum string) bool { return h[sum] }

func file(path, sum string) spec.Entry {
	return spec.Entry{Path: path, Type: spec.TypeFile, SHA256: sum}
}

func TestPlanItemizes(t *testing.T) {
	have := []spec.Entry{
		file("same", "1"), file("changed", "1"), file("gone", "1"), file("damaged", "1"),
		{Path: "dir", Type: spec.TypeDir}, {Path: "BOOT", Type: spec.TypeSymlink, Target: "a"},
		{Path: "oldlink", Type: spec.TypeSymlink, Target: "a"},
	}
	want := []spec.Entry{
		file("same", "1"), file("changed", "2"), file("damaged", "1"), file("new file", "3"), file("moved", "1"),
		{Path: "dir", Type: spec.TypeDir}, {Path: "BOOT", Type: spec.TypeSymlink, Target: "b"},
		{Path: "newdir", Type: spec.TypeDir},
	}
	damaged := map[string]bool{"damaged": true}
	text := func(complete bool) string {
		var b strings.Builder
		p := newPlan("live", "sha256:0", want, have, damaged, complete, holds{"1": true})
		if err := p.Itemize(&b); err != nil {
			t.Fatal(err)
		}
		if !p.Changes() {
			t.Error("the plan says that nothing changes")
		}
		return b.String()
	}
	const full = `cLc.t...... BOOT -> b
>fc.t...... changed
hfc.t...... damaged
*deleting   gone
hf+++++++++ moved
>f+++++++++ "new file"
cd+++++++++ newdir/
*deleting   oldlink
`
	if got := text(true); got != full {
		t.Errorf("got\n%swant\n%s", got, full)
	}
	// While links are not known yet, none is announced as gone.
	if got := text(false); strings.Contains(got, "oldlink") || !strings.Contains(got, "*deleting   gone") {
		t.Errorf("an incomplete plan says\n%s", got)
	}
}

func TestPlanWithoutChange(t *testing.T) {
	e := []spec.Entry{file("a", "1"), {Path: "BOOT", Type: spec.TypeSymlink, Target: "a"}}
	if p := newPlan("", "", e, e, nil, true, holds{}); p.Changes() {
		t.Errorf("equal trees give %v", p.Items)
	}
}

func TestItemQuotes(t *testing.T) {
	it := Item{Path: "a\x1b[2Jb", Type: spec.TypeFile, Op: OpWrite, New: true}
	if got := it.String(); strings.ContainsRune(got, 0x1b) {
		t.Errorf("%q can drive a terminal", got)
	}
}
