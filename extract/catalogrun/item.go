package catalogrun

import (
	"context"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/transport"
)

// item is one reference, or one release of a catalog index, to be laid out.
type item struct {
	entry   *catalog.Entry
	opts    extract.Options
	ref     transport.Reference
	release string
	answer  *answer
	top     ocispec.Descriptor // what it names; for a release from the index
	found   bool               // by a pattern: what is no boot tree is passed over
	placed  *extract.Placement // nil until it was considered
	failed  bool
	skipped bool
	twin    *item // that makes the same tree, for one that is skipped because of it
	lost    bool  // a list names it and the registry does not have it
}

// key names an item in the state.
func (it *item) key() string {
	return stateKey(it.ref.String(), it.release)
}

// name is how messages call it; references and releases are quoted.
func (it *item) name() string {
	if it.release == "" {
		return quoted(it.ref.String())
	}
	return quoted(it.release) + " of " + quoted(it.ref.String())
}

// question is all that decides whether an item is laid out, and where, besides
// what it names.
func (it *item) question() string { return it.opts.Question() }

// questionWith is the question whether an item makes the same trees as another.
func (it *item) questionWith(twin *item) string { return it.question() + " / " + twin.question() }

// newItem makes an item of an entry with its options.
func (s *dirRun) newItem(e *catalog.Entry, ref transport.Reference, release string) (*item, error) {
	o := s.opts.Options
	o.Dir, o.Platforms, o.Layouts, o.Set = s.dir, e.Platforms, e.Layout, e.Set
	o.Live, o.Keep = bootdir.LiveMode(e.Live), 0
	if e.Keep != nil {
		o.Keep = *e.Keep
	}
	if e.AllowDowngrade != nil {
		o.AllowDowngrade = *e.AllowDowngrade
	}
	o.Catalog, o.Release = s.cat.Name, release
	o.MenuEntry = menuEntryOf(e.Menu)
	it := &item{entry: e, ref: ref, release: release, found: e.Kind != catalog.KindImage}
	o.Lenient = it.found
	var err error
	if o.Trust, err = entryTrust(e, s.opts); err != nil {
		return nil, err
	}
	if o.Attributes, err = bootdir.ParseAttributes(e.Chown, e.Chmod, e.SELinuxLabel); err != nil {
		return nil, err
	}
	if e.Hooks != nil {
		if o.Hooks, err = s.opts.MakeHooks(e.Hooks); err != nil {
			return nil, err
		}
	}
	it.opts = o
	return it, nil
}

// answer is what a reference names. It is asked for once in a run.
type answer struct {
	once  sync.Once
	src   transport.Source
	meter *extract.Meter
	top   ocispec.Descriptor
	err   error
}

// answerTo gives the place of an answer. It is not safe for concurrent use; ask
// is.
func (s *dirRun) answerTo(e *catalog.Entry, ref transport.Reference) *answer {
	key := ref.String()
	if e.TLSVerify != nil {
		key += map[bool]string{true: " verify", false: " insecure"}[*e.TLSVerify]
	}
	a := s.answers[key]
	if a == nil {
		a = &answer{}
		s.answers[key] = a
	}
	return a
}

// ask resolves a reference, unless that was done.
func (s *dirRun) ask(ctx context.Context, a *answer, e *catalog.Entry, ref transport.Reference) error {
	a.once.Do(func() {
		if a.err = s.breaker.open(ref.Host()); a.err != nil {
			return
		}
		var c *transport.Client
		if c, a.err = s.opts.Client(e.TLSVerify); a.err != nil {
			return
		}
		if a.src, a.err = c.Source(ctx, ref); a.err != nil {
			return
		}
		a.meter = extract.NewMeter(a.src)
		a.top, a.err = a.src.Resolve(ctx)
		s.breaker.note(ref.Host(), a.err)
	})
	return a.err
}

// asking is one question that is to be asked.
type asking struct {
	a   *answer
	e   *catalog.Entry
	ref transport.Reference
}

// askAll asks many questions at once. The first of each repository goes ahead,
// so that the others find its token and its connection. What an answer is, or
// why there is none, is looked at when its turn comes.
func (s *dirRun) askAll(ctx context.Context, list []asking) error {
	first := map[string]bool{}
	var ahead, rest []asking
	for _, q := range list {
		if first[q.ref.Name] {
			rest = append(rest, q)
		} else {
			first[q.ref.Name] = true
			ahead = append(ahead, q)
		}
	}
	for _, part := range [][]asking{ahead, rest} {
		var g errgroup.Group
		g.SetLimit(s.concurrency())
		for _, q := range part {
			g.Go(func() error {
				if ctx.Err() == nil {
					_ = s.ask(ctx, q.a, q.e, q.ref)
				}
				return nil
			})
		}
		_ = g.Wait()
	}
	return ctx.Err()
}

func quoted(s string) string {
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}
