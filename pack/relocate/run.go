package relocate

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DefaultJobs is how many images are copied at once.
const DefaultJobs = 4

// Options are those of [Plan.Run].
type Options struct {
	// Open opens images for reading, by their full reference. It is called for
	// several at once, and what it gives is closed.
	Open func(ctx context.Context, ref transport.Reference) (transport.AttachmentSource, error)
	// To is the client that writes.
	To *transport.Client
	// Jobs is how many images are copied at once; 0 means DefaultJobs.
	Jobs int
	// Recheck looks for every blob, also below manifests that the destination has.
	Recheck bool
	// Warn takes messages about what was left out or replaced. May be nil.
	Warn func(format string, a ...any)
	// Done is told of each image that is through; err is nil if all went well. It
	// may be called from many goroutines. May be nil.
	Done func(original, relocated string, changed bool, err error)
}

// Run carries the plan out. An image that fails does not keep the others from being
// copied; the error is then a *FailedError, and [Plan.Map] has the reasons. What is
// in the destination already is not copied again, so a run that was interrupted goes
// on when it is started again.
//
// The tag of an image comes last: when it is there, so are all blobs, all manifests
// and what is attached to them.
func (p *Plan) Run(ctx context.Context, o Options) error {
	r := &runner{o: o, repos: map[string]*transport.Repository{}, placed: map[digest.Digest]string{}, lists: map[string]*sync.Mutex{}}
	defer r.close()
	var g errgroup.Group
	g.SetLimit(cmp.Or(max(o.Jobs, 0), DefaultJobs))
	for _, j := range p.jobs {
		g.Go(func() error {
			j.changed = false
			if j.err = ctx.Err(); j.err == nil {
				j.err = r.run(ctx, j)
			}
			if o.Done != nil {
				o.Done(j.from.String(), j.to.String(), j.changed, j.err)
			}
			return nil
		})
	}
	_ = g.Wait() // errors are kept with the jobs
	return p.failed(ctx)
}

// failed makes one error of those of the jobs.
func (p *Plan) failed(ctx context.Context) error {
	e := &FailedError{All: len(p.items)}
	for _, it := range p.items {
		if it.job.err != nil {
			e.add(it.job.err)
		}
	}
	switch {
	case e.Failed == 0:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("relocate images: %w", ctx.Err())
	}
	return e
}

// runner is one Run.
type runner struct {
	o Options

	mu     sync.Mutex
	repos  map[string]*transport.Repository // of the destination, by name
	placed map[digest.Digest]string         // a repository, without host, that has the blob
	lists  map[string]*sync.Mutex           // of referrers, by repository and subject
}

func (r *runner) close() {
	for _, repo := range r.repos {
		_ = repo.Close() // registries leave nothing behind
	}
}

func (r *runner) warn(format string, a ...any) {
	if r.o.Warn != nil {
		r.o.Warn(format, a...)
	}
}

// repository gives all jobs for one repository the same value, which knows what is
// under way.
func (r *runner) repository(ctx context.Context, ref transport.Reference) (*transport.Repository, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if repo := r.repos[ref.Name]; repo != nil {
		return repo, nil
	}
	repo, err := r.o.To.Repository(ctx, ref)
	if err == nil {
		r.repos[ref.Name] = repo
	}
	return repo, err
}

// lock keeps two jobs from writing what refers to one manifest at the same time:
// registries keep only the list that was written last.
func (r *runner) lock(repo string, subject digest.Digest) (unlock func()) {
	r.mu.Lock()
	key := repo + "@" + subject.String()
	l := r.lists[key]
	if l == nil {
		l = &sync.Mutex{}
		r.lists[key] = l
	}
	r.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// mountFrom gives a repository of the destination that has a blob by now.
func (r *runner) mountFrom(own string) func(digest.Digest) string {
	return func(d digest.Digest) string {
		r.mu.Lock()
		defer r.mu.Unlock()
		if path := r.placed[d]; path != own {
			return path
		}
		return ""
	}
}

// note remembers where the blobs of a manifest are now.
func (r *runner) note(own string, mediaType string, body []byte) {
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil {
		return // an index has no blobs
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if _, known := r.placed[d.Digest]; !known {
			r.placed[d.Digest] = own
		}
	}
}

// run copies one image.
func (r *runner) run(ctx context.Context, j *job) error {
	src, err := r.o.Open(ctx, j.from)
	if err != nil {
		return err
	}
	defer src.Close()
	repo, err := r.repository(ctx, j.to)
	if err != nil {
		return err
	}
	_, path, _ := strings.Cut(j.to.Name, "/")
	c := &carrier{r: r, job: j, src: src, repo: repo, path: path, seen: map[digest.Digest]bool{}}
	return c.image(ctx)
}
