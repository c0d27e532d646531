// Package metrics tells Prometheus what runs over a catalogue did, and what boot directories
// hold. docs/operations.md lists the metrics.
package metrics

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
)

// Write replaces file by what a run over a catalogue did and what is there
// now, in the text format that the textfile collector of Prometheus'
// node_exporter reads. docs/operations.md lists the metrics.
//
// What is there comes from the records of the boot directories and not from the
// report: a reference that failed this time keeps the digest that is live and the
// time when it last succeeded. A boot directory whose records cannot be read is
// left out, and the error tells so after the rest was written. A dry run writes
// nothing, and neither does a run that did nothing because another one was at
// work: that one will.
func Write(file string, r *catalogrun.Report, entries []catalog.Entry) error {
	if r.DryRun || lockedOut(r) {
		return nil
	}
	var (
		facts []bootFacts
		errs  []error
	)
	for _, dir := range catalog.Destinations(entries) {
		f, err := readFacts(dir, r.Catalog)
		if err != nil {
			errs = append(errs, fmt.Errorf("metrics without boot directory %q: %w", dir, err))
			continue
		}
		facts = append(facts, f)
	}
	if err := replaceFile(file, exposition(r, facts)); err != nil {
		errs = append(errs, fmt.Errorf("write metrics: %w", err))
	}
	return errors.Join(errs...)
}

// lockedOut says that other runs held the locks of all boot directories.
func lockedOut(r *catalogrun.Report) bool {
	return len(r.Trees) == 0 && len(r.Failures) > 0 &&
		!slices.ContainsFunc(r.Failures, func(f *extract.Failure) bool { return f.Kind != extract.FailLocked })
}

// bootFacts are what the records of one boot directory say about a catalogue.
type bootFacts struct {
	dir        string
	run        catalogrun.RunState
	trees      []bootdir.Tree
	references map[string]*catalogrun.ReferenceState
}

func readFacts(dir, name string) (bootFacts, error) {
	f := bootFacts{dir: dir, references: map[string]*catalogrun.ReferenceState{}}
	state, err := catalogrun.ReadState(dir)
	if err != nil {
		return f, err
	}
	f.run = state.Runs[name]
	for key, ref := range state.References {
		if ref.Catalog == name {
			f.references[key] = ref
		}
	}
	d, err := bootdir.View(dir)
	if err != nil {
		return f, err
	}
	defer d.Close()
	trees, err := d.Trees()
	for _, t := range trees {
		if t.Catalog == name {
			f.trees = append(f.trees, t)
		}
	}
	return f, err
}

// failureKinds are all kinds, so that a metric of each is always there and a rule
// can tell none from no news.
func failureKinds() []extract.FailureKind {
	return []extract.FailureKind{
		extract.FailAuth, extract.FailConflict, extract.FailOther, extract.FailInterrupted, extract.FailLocked, extract.FailNetwork, extract.FailNotFound,
		extract.FailPlatform, extract.FailRefused, extract.FailRetention, extract.FailSpace, extract.FailVetoed,
	}
}

// exposition is what stands in the file. Every metric is a gauge: a file that is replaced has no
// counters. Times are points in time and not ages, so that they need no run to
// stay true.
func exposition(r *catalogrun.Report, facts []bootFacts) []byte {
	g := &gauges{base: []string{"catalog", r.Catalog}}
	runMetrics(g, r, facts)
	treeMetrics(g, facts)
	referenceMetrics(g, facts)
	return g.text()
}

func runMetrics(g *gauges, r *catalogrun.Report, facts []bootFacts) {
	g.family("last_run_timestamp_seconds", "End of the last run over the catalogue.").at(r.Finished)
	g.family("last_success_timestamp_seconds", "End of the last run in which nothing failed.").at(succeeded(facts))
	g.family("last_run_duration_seconds", "Duration of the last run.").add(r.Finished.Sub(r.Started).Seconds())
	g.family("last_run_requests", "HTTP requests of the last run.").add(float64(r.Requests))
	g.family("last_run_fetched_bytes", "Bytes of response bodies in the last run.").add(float64(r.Fetched))
	g.family("last_run_changed_trees", "Trees that the last run changed.").add(float64(r.Changed))
	g.family("references", "References that the catalogue names, patterns resolved.").add(float64(r.References))
	g.family("stale_trees", "Trees whose tag stands still for longer than max-age.").add(float64(len(r.Stale)))
	left := 0
	for _, l := range r.Left {
		if !l.Removed {
			left++
		}
	}
	g.family("left_trees", "Trees that left the catalogue and are still there.").add(float64(left))
	failures := g.family("last_run_failures", "Failures of the last run by kind.")
	for _, kind := range failureKinds() {
		n := 0
		for _, f := range r.Failures {
			if f.Kind == kind {
				n++
			}
		}
		failures.add(float64(n), "kind", string(kind))
	}
}

// succeeded is when every boot directory had succeeded; zero if one never has.
func succeeded(facts []bootFacts) time.Time {
	var first time.Time
	for i, f := range facts {
		if t := f.run.Succeeded; i == 0 || t.Before(first) {
			first = t
		}
	}
	return first
}

func treeMetrics(g *gauges, facts []bootFacts) {
	trees := g.family("trees", "Trees of the catalogue in a boot directory.")
	info := g.family("tree_info", "What is live; the value is 1.")
	installed := g.family("tree_installed_timestamp_seconds", "When what is live was laid out.")
	created := g.family("image_created_timestamp_seconds", "When the live image was made, as it says.")
	pinned := g.family("tree_pinned", "1 for a tree that was rolled back and does not follow its tag.")
	for _, f := range facts {
		trees.add(float64(len(f.trees)), "destination", f.dir)
		for _, t := range f.trees {
			at := []string{"destination", f.dir, "path", t.Live}
			info.add(1, append(at, "reference", t.Reference, "release", t.Release, "platform", t.Platform, "digest", t.Digest)...)
			if len(t.History) > 0 {
				installed.at(t.History[0].Installed, at...)
			}
			if t.Created != nil {
				created.at(*t.Created, at...)
			}
			pin := 0.0
			if t.Pinned {
				pin = 1
			}
			pinned.add(pin, at...)
		}
	}
}

func referenceMetrics(g *gauges, facts []bootFacts) {
	success := g.family("reference_success_timestamp_seconds", "When a reference was last found up to date or brought there.")
	moved := g.family("tag_moved_timestamp_seconds", "When a reference was first seen to name what it names now.")
	failing := g.family("reference_failing_since_timestamp_seconds", "When a reference that fails now failed for the first time in a row.")
	for _, f := range facts {
		for _, key := range slices.Sorted(maps.Keys(f.references)) {
			ref, at := f.references[key], []string{"destination", f.dir, "reference", key}
			success.at(ref.Succeeded, at...)
			moved.at(ref.Moved, at...)
			failing.at(ref.FailingSince, append(at, "kind", string(ref.Kind))...)
		}
	}
}
