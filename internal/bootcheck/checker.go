package bootcheck

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Options say what a set of boot files is meant to be.
type Options struct {
	// Platform the files are for; the zero value if it is not known.
	Platform spec.Platform
	// Labels of the format, see spec.LabelEntrypoint and its like. Those that
	// are missing make fewer findings.
	Labels map[string]string
	// Modes says that entries have modes; those of artifacts have none.
	Modes bool
}

// Checker judges one set of boot files. Files are looked at one after the other;
// a Checker is not for several goroutines.
type Checker struct {
	o     Options
	files []facts
}

// New makes a Checker.
func New(o Options) *Checker { return &Checker{o: o} }

// File starts to look at a file of the set; path is its name in the payload.
func (c *Checker) File(path string) *Probe { return &Probe{c: c, facts: facts{path: path}} }

// Findings judges the files that were looked at. entries is everything that the
// set has, links too. Errors come first, then warnings, then what is only
// mentioned. Text from files is quoted.
func (c *Checker) Findings(entries []spec.Entry) []spec.Violation {
	j := &judge{o: &c.o, files: c.files, entries: entries, rules: map[string]int{}}
	j.table = Rules()
	for i, r := range j.table {
		j.rules[r.ID] = i
	}
	slices.SortStableFunc(j.files, func(a, b facts) int { return cmp.Compare(a.path, b.path) })
	j.files = slices.DeleteFunc(slices.Clone(j.files), func(f facts) bool { return j.entryCopy(f.path) })
	j.kernels()
	j.machines()
	j.shims()
	j.programs()
	j.revocations()
	j.names()
	slices.SortStableFunc(j.found, func(a, b spec.Violation) int {
		return cmp.Or(cmp.Compare(j.rules[a.Rule], j.rules[b.Rule]), cmp.Compare(a.Path, b.Path))
	})
	return j.found
}

// judge makes findings.
type judge struct {
	o       *Options
	files   []facts
	entries []spec.Entry
	table   []spec.Rule
	rules   map[string]int
	found   []spec.Violation
}

func (j *judge) report(rule, path, format string, a ...any) {
	r := j.table[j.rules[rule]]
	j.found = append(j.found, spec.Violation{
		Rule: rule, Severity: r.Severity, Path: path, Message: fmt.Sprintf(format, a...), Advice: r.Advice,
	})
}

// entrypoints gives the files that firmware starts.
func (j *judge) entrypoints() []string {
	var list []string
	for _, l := range spec.EntryLinks() {
		if p := j.o.Labels[l.Label]; p != "" {
			list = append(list, p)
		}
	}
	return list
}

// entryCopy tells whether a file is a copy of an entrypoint, as some builders make
// it of the link.
func (j *judge) entryCopy(p string) bool {
	for _, l := range spec.EntryLinks() {
		if e := j.o.Labels[l.Label]; e != "" && e != p && spec.LinkFor(e, l.Name) == p {
			return true
		}
	}
	return false
}

// quoted lists texts, each quoted.
func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}
