package extract

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nbpack/nbpack/internal/transport"
)

// Sources opens what references name. *transport.Client does; who has the images
// already can answer from there.
type Sources interface {
	Source(context.Context, transport.Reference) (transport.Source, error)
}

// Pull brings the boot trees of the references below o.Dir up to date and
// reports on each. A reference is asked for with one request; what is
// unchanged and undamaged costs nothing more. All references are resolved, and
// their live paths compared, before the first tree is touched; then the trees
// follow one after another. The first that fails ends the pull, and the report
// tells of those before it.
//
// Errors are *spec.Refusal for content that is not accepted, *resolve.PlatformError
// for the choice of a platform, *transport.NotFoundError, and
// *bootdir.LockedError while another run works on the directory.
func Pull(ctx context.Context, c Sources, refs []transport.Reference, o Options) (*Report, error) {
	report := &Report{Trees: []TreeReport{}}
	if _, err := o.layouts(); err != nil {
		return report, err
	}
	s, err := Open(ctx, o)
	if err != nil {
		return report, o.failed(ctx, "", err)
	}
	defer s.Close()
	p := &puller{session: s, opts: o, claimed: map[string]string{}}
	defer p.close()
	for _, ref := range refs {
		if err := p.prepare(ctx, c, ref); err != nil {
			return report, o.failed(ctx, ref.String(), err)
		}
	}
	if err := s.checkMenus(nil, nil); err != nil {
		return report, o.failed(ctx, "", err)
	}
	for i, placed := range p.placed {
		err := placed.run(ctx)
		report.Trees = append(report.Trees, placed.Reports()...)
		if err != nil {
			// What is done is done, and the menus tell of it.
			return report, o.failed(ctx, refs[i].String(), errors.Join(err, report.writeMenus(s)))
		}
	}
	if err := report.writeMenus(s); err != nil {
		return report, o.failed(ctx, "", err)
	}
	return report, nil
}

// writeMenus writes the menus after the trees.
func (r *Report) writeMenus(s *Session) (err error) {
	r.Menus, err = s.WriteMenus(r.Trees)
	return err
}

// puller is the state of one pull.
type puller struct {
	session *Session
	opts    Options
	sources []transport.Source
	placed  []*Placement      // one for each reference
	claimed map[string]string // live path → manifest digest
}

func (p *puller) close() {
	for _, src := range p.sources {
		src.Close()
	}
}

// prepare finds out what a reference names now, and what that asks for.
func (p *puller) prepare(ctx context.Context, c Sources, ref transport.Reference) error {
	src, err := c.Source(ctx, ref)
	if err != nil {
		return err
	}
	p.sources = append(p.sources, src)
	top, err := src.Resolve(ctx)
	if err != nil {
		return err
	}
	placed, err := p.session.Consider(ctx, ref, NewMeter(src), top, p.opts)
	if err != nil {
		return err
	}
	p.placed = append(p.placed, placed)
	for _, live := range slices.Sorted(maps.Keys(placed.Lives())) {
		if err := claim(p.claimed, live, placed.Lives()[live]); err != nil {
			return err
		}
	}
	return nil
}

// claim refuses two images of one run that belong at the same live path.
func claim(claimed map[string]string, live, digest string) error {
	if other, taken := claimed[live]; taken && other != digest {
		return &usageError{
			msg:  fmt.Sprintf("two images of this run belong at %q: manifests %s and %s", live, other, digest),
			hint: "give them paths of their own with --layout or --set",
		}
	}
	claimed[live] = digest
	return nil
}
