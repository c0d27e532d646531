package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// The kinds of a Finding.
const (
	// Missing is content that an image needs and that is not there.
	Missing = "missing"
	// Damaged is content that is not what its digest or its size says.
	Damaged = "damaged"
	// Extra is what no image needs.
	Extra = "extra"
	// Malformed is an entry of index.json that cannot be used.
	Malformed = "malformed"
)

// Finding is something wrong with a bundle.
type Finding struct {
	Kind string `json:"kind"`
	// What is a digest, the name of an entry or, of what is extra, of a file.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
}

// Report is what Verify found out.
type Report struct {
	Bundle   string    `json:"bundle"`
	Delta    bool      `json:"delta"`
	Images   int       `json:"images"`
	Blobs    int       `json:"blobs"` // that are needed and whole, manifests too
	Bytes    int64     `json:"bytes"` // of these
	Omitted  int       `json:"omitted"`
	Findings []Finding `json:"findings"` // by kind and name
}

// parallelReads is how many blobs are hashed at once.
const parallelReads = 2

// Verify reads a whole bundle: every manifest that is named, directly or not, every
// config and layer, by size and digest; and it looks for what nothing needs. Of a
// delta that is missing what it does not say that it leaves out. The error is about
// what kept it from finding out; all that is wrong is in the report.
func Verify(ctx context.Context, b *transport.Bundle, name string) (*Report, error) {
	v := &verifier{b: b, reach: newReach(b), report: &Report{Bundle: name, Findings: []Finding{}}, omitted: Since{}, bad: map[digest.Digest]bool{}}
	v.reach.fail = v.failed
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verify %q: %w", name, err)
	}
	slices.SortFunc(v.report.Findings, func(a, b Finding) int { return strings.Compare(a.Kind+" "+a.What, b.Kind+" "+b.What) })
	v.report.Findings = slices.Compact(v.report.Findings)
	return v.report, nil
}

type verifier struct {
	b       *transport.Bundle
	reach   *reach
	report  *Report
	omitted Since
	bad     map[digest.Digest]bool // manifests that were found to be wrong
}

func (v *verifier) find(kind, what string, why error) {
	f := Finding{Kind: kind, What: what}
	if why != nil {
		f.Why = why.Error()
	}
	v.report.Findings = append(v.report.Findings, f)
}

// failed takes what is wrong with a manifest for a finding.
func (v *verifier) failed(d digest.Digest, err error) error {
	v.bad[d] = true
	switch {
	case isAbsent(err):
		v.find(Missing, d.String(), nil)
	case isRefusal(err):
		v.find(Damaged, d.String(), err)
	default:
		return err
	}
	return nil
}

func (v *verifier) run(ctx context.Context) error {
	entries := v.entries()
	for _, e := range entries {
		if !marks(e) {
			continue
		}
		v.report.Delta = true
		list, err := omitted(ctx, v.b, e, v.reach)
		if err == nil {
			maps.Copy(v.omitted, list)
			continue
		}
		if err := v.failed(e.Digest, err); err != nil {
			return err
		}
	}
	attached, err := v.reach.addImages(ctx, entries)
	if err != nil {
		return err
	}
	if _, err := v.reach.addAttached(ctx, attached); err != nil {
		return err
	}
	for name := range attached {
		if len(v.bad) > 0 {
			break // it may be attached to what a manifest names that could not be read
		}
		v.find(Extra, name, errors.New("what it is attached to is not there"))
	}
	if err := v.blobs(ctx); err != nil {
		return err
	}
	return v.extra()
}

// entries are those that can be looked at.
func (v *verifier) entries() []ocispec.Descriptor {
	var good []ocispec.Descriptor
	seen := map[string]digest.Digest{}
	for i, e := range v.b.Entries() {
		name, what := entryName(e), fmt.Sprintf("entry %d", i)
		if name != "" {
			what = fmt.Sprintf("entry %q", name)
		}
		_, err := transport.ParseBundleName(name)
		if cerr := spec.CheckDescriptor(e); cerr != nil {
			err = cerr
		} else if was, twice := seen[name]; twice && name != "" && was != e.Digest {
			err = errors.New("another image has that name")
		} else if marks(e) {
			err = nil
		} else if name == "" {
			err = errors.New("it has no name")
		}
		if err != nil {
			v.find(Malformed, what, err)
			continue
		}
		seen[name] = e.Digest
		if !marks(e) && !isAttached(e) {
			v.report.Images++
		}
		good = append(good, e)
	}
	return good
}

// blobs proves configs and layers, and counts what is whole.
func (v *verifier) blobs(ctx context.Context) error {
	list := slices.Sorted(maps.Keys(v.reach.blob))
	results := make([]error, len(list))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i, d := range list {
		g.Go(func() error {
			results[i] = readThrough(gctx, v.b, ocispec.Descriptor{Digest: d, Size: v.reach.blob[d]})
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, d := range list {
		switch err := results[i]; {
		case err == nil:
			v.whole(v.reach.blob[d])
		case isAbsent(err) && v.omitted[d]:
			v.report.Omitted++
		case isAbsent(err):
			v.find(Missing, d.String(), nil)
		case isRefusal(err):
			v.find(Damaged, d.String(), err)
		default:
			return err
		}
	}
	for d, size := range v.reach.manifest {
		if !v.bad[d] {
			v.whole(size)
		}
	}
	return nil
}

func (v *verifier) whole(size int64) {
	v.report.Blobs++
	v.report.Bytes += size
}

// extra finds what nothing needs. Nobody knows which blobs a manifest needs that
// could not be read, so then none counts as extra.
func (v *verifier) extra() error {
	files, err := v.b.Files()
	if err != nil {
		return err
	}
	for _, f := range files {
		d, ok := ocilayout.ParseBlobName(f.Name)
		_, blob := v.reach.blob[d]
		_, manifest := v.reach.manifest[d]
		if ok && (blob || manifest || len(v.bad) > 0) || f.Name == ocispec.ImageLayoutFile || f.Name == ocispec.ImageIndexFile {
			continue
		}
		v.find(Extra, f.Name, nil)
	}
	return nil
}
