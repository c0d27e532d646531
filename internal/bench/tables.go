package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// table gathers the runs of one scenario.
type table struct {
	title string
	base  string // of the ratios; empty: none
	names []string
	runs  map[string][]figures
	fails map[string]bool

	counted map[string]figures // requests and bytes
}

func newTable(title, base string) *table {
	return &table{title: title, base: base, runs: map[string][]figures{}, fails: map[string]bool{}, counted: map[string]figures{}}
}

// add takes a run: of round 0 what was counted, of the others how long it took.
func (t *table) add(round int, name string, f figures, err error) {
	if _, known := t.runs[name]; !known {
		t.names = append(t.names, name)
		t.runs[name] = nil
	}
	switch {
	case err != nil:
		t.fails[name] = true
	case round == 0:
		t.counted[name] = f
	default:
		t.runs[name] = append(t.runs[name], f)
	}
}

// once takes the only run, which was counted and timed.
func (t *table) once(name string, f figures, err error) {
	t.add(0, name, f, err)
	t.add(1, name, f, err)
}

// markdown shows medians. The ratio is the median of those of each round, since
// the speed of a machine drifts.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n", strings.ToUpper(t.title[:1])+t.title[1:])
	b.WriteString("| | s | s, on the disk | × " + orDash(t.base) + " | CPU s | MiB | requests | MB |\n|---|---|---|---|---|---|---|---|\n")
	for _, name := range t.names {
		if t.fails[name] || len(t.runs[name]) == 0 {
			fmt.Fprintf(&b, "| %s | failed | | | | | | |\n", name)
			continue
		}
		f := median(t.runs[name])
		f.requests, f.bytes = t.counted[name].requests, t.counted[name].bytes
		requests, bytes := fmt.Sprint(f.requests), fmt.Sprintf("%.3f", float64(f.bytes)/1e6)
		if f.requests < 0 {
			requests = "–"
		} else if f.requests == 0 {
			requests, bytes = "–", "–"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %s | %.3f | %d | %s | %s |\n", name, f.wall.Seconds(), f.settled.Seconds(),
			t.ratio(name), f.cpu.Seconds(), f.rss>>10, requests, bytes)
	}
	return b.String()
}

func (t *table) ratio(name string) string {
	base := t.runs[t.base]
	var all []float64
	for i, f := range t.runs[name] {
		if i < len(base) {
			all = append(all, f.settled.Seconds()/base[i].settled.Seconds())
		}
	}
	if len(all) == 0 {
		return "–"
	}
	slices.Sort(all)
	return fmt.Sprintf("%.2f", all[len(all)/2])
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// replaceTable writes a table between its two comments in a Markdown file.
func replaceTable(name, table, text string) error {
	head, tail, err := aroundTable(name, table)
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(head+text+tail), 0o644)
}

// aroundTable gives what stands before and behind a table, its comments included.
func aroundTable(name, table string) (head, tail string, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", "", err
	}
	begin, end := "<!-- bench "+table+" -->\n", "<!-- end of bench "+table+" -->\n"
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, found := strings.Cut(rest, end)
	if !ok || !found {
		return "", "", fmt.Errorf("%s has no place for the table %s", name, table)
	}
	return head + begin, end + tail, nil
}
