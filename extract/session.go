package extract

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
)

// Session is a boot directory in the hands of one run, from taking the lock to leaving it.
// Pull is one over a few references that end with the first failure; who brings many up to
// date, each by itself, opens one, considers all references, and then does the steps of
// their placements. It is not safe for concurrent use.
type Session struct {
	opts Options
	dir  *bootdir.Dir
	have *inventory // what was recorded before this run
}

// Open takes the lock of o.Dir, which is created when missing, or in a dry run only looks at
// it. Of o those count that are about the whole directory: Dir, Keep (of trees of which nothing
// else is recorded), DryRun, AllowGap, Menus, MirrorHealth, Now, Log and Warn. While another
// run has the lock the error is a *bootdir.LockedError.
func Open(ctx context.Context, o Options) (*Session, error) {
	dir, err := openDir(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Session{opts: o, dir: dir, have: &inventory{dir: dir}}, nil
}

func openDir(ctx context.Context, o Options) (*bootdir.Dir, error) {
	if o.DryRun {
		return bootdir.View(o.Dir)
	}
	return bootdir.Open(ctx, o.Dir, o.bootdir())
}

// Close remembers for the next run how mirrors did, and leaves the lock.
func (s *Session) Close() error {
	s.opts.keepMirrors(s.dir)
	return s.dir.Close()
}

// Dir is the boot directory, which Close closes.
func (s *Session) Dir() *bootdir.Dir { return s.dir }

// Before gives the trees that were recorded before the first one changed, by live path. They
// are read once and not to be changed.
func (s *Session) Before() (map[string]*bootdir.Tree, error) {
	err := s.have.load()
	return s.have.live, err
}

// Consider finds out which trees follow from ref, which names top in the source of m, and what
// is left to do for them; nothing changes yet. o is all that is about this reference; what is
// about the whole directory is as Open was told. Trees that were made from the same answer to
// the same question, and that nobody touched, cost no request.
//
// The placement is never nil: beside an error it knows which live paths were found until then.
// Errors are those of Pull.
func (s *Session) Consider(ctx context.Context, ref transport.Reference, m *Meter, top ocispec.Descriptor, o Options) (*Placement, error) {
	p := s.placement(o)
	var err error
	if p.layouts, err = o.layouts(); err != nil {
		return p, err
	}
	return p, p.consider(ctx, ref, m, top)
}

func (s *Session) placement(o Options) *Placement {
	all := &s.opts
	o.Dir, o.DryRun, o.AllowGap, o.Menus, o.MirrorHealth = all.Dir, all.DryRun, all.AllowGap, all.Menus, all.MirrorHealth
	o.Now, o.Log, o.Warn = all.Now, all.Log, all.Warn
	return &Placement{session: s, dir: s.dir, opts: o, claimed: map[string]string{}}
}
