package relocate

import (
	"errors"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/opencontainers/go-digest"
)

// Plan says which image goes where. A dry run prints it, Run carries it out.
type Plan struct {
	items []item
	jobs  []*job
}

// item is an image of the list. Several may be the same image.
type item struct {
	image     Image
	relocated string
	job       *job
}

// job is one tag, or one digest, to copy.
type job struct {
	from  transport.Reference
	to    transport.Reference // without a digest
	want  digest.Digest       // what the image must be; may be empty
	byTag bool                // the tag of from counts, not what it is pinned to

	outcome
}

// outcome is what became of a job.
type outcome struct {
	digest  digest.Digest
	changed bool
	err     error
}

// place is what a job writes.
type place struct{ name, tag, digest string }

// NewPlan gives each image its new name. Two images that would be written to the
// same place are refused: repositories whose names have the same hash, and one tag
// that shall be two images. So are names that are too long. All mistakes are
// reported, in one usage error.
func NewPlan(images []Image, m *Mapping) (*Plan, error) {
	p := &Plan{}
	sources := map[string]Image{} // by new repository name
	jobs := map[place]*job{}
	var bad []error
	for _, i := range images {
		it, err := p.add(i, m, sources, jobs)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		p.items = append(p.items, it)
	}
	return p, allBad(bad)
}

func (p *Plan) add(i Image, m *Mapping, sources map[string]Image, jobs map[place]*job) (item, error) {
	name, err := m.Repository(i)
	if err != nil {
		return item{}, err
	}
	if other, known := sources[name]; known && other.named.Name() != i.named.Name() {
		return item{}, usage("--suffix sha256 keeps them apart", "images %q and %q would both be in %q", other.Original, i.Original, name)
	}
	sources[name] = i
	it := item{image: i, relocated: name + suffix(i.named)}
	from := i.Reference()
	at := place{name: name, tag: from.Tag}
	if from.Tag == "" {
		at.digest = from.Digest.String()
	}
	if it.job = jobs[at]; it.job == nil {
		to := transport.Reference{Transport: transport.Docker, Name: name, Tag: from.Tag}
		it.job = &job{from: transport.Reference{Transport: transport.Docker, Name: from.Name, Tag: from.Tag}, to: to}
		jobs[at] = it.job
		p.jobs = append(p.jobs, it.job)
	}
	return it, it.job.join(i)
}

// join has a job do for one more image. If all that go there are pinned to a
// digest, that is what is read; if one means whatever the tag names, it has to be
// what the others are pinned to.
func (j *job) join(i Image) error {
	pin := digestOf(i.named)
	for _, d := range []digest.Digest{pin, i.Want} {
		if d == "" {
			continue
		}
		if j.want != "" && j.want != d {
			return usage("relocate them below different prefixes", "image %q is %s, but the same tag would also be %s", i.Original, d, j.want)
		}
		j.want = d
	}
	j.byTag = j.byTag || pin == ""
	if j.from.Digest = j.want; j.byTag {
		j.from.Digest = ""
	}
	return nil
}

// Map gives the plan as a map, in the order of the list: what was relocated so
// far, with its digest; none before Run.
func (p *Plan) Map() *Map {
	m := &Map{Images: []Entry{}}
	for _, it := range p.items {
		e := Entry{Original: it.image.Original, Relocated: it.relocated, Changed: it.job.changed, image: it.image}
		if it.job.digest != "" {
			e.Digest = &it.job.digest
		}
		if it.job.err != nil {
			e.Error = it.job.err.Error()
		}
		m.Images = append(m.Images, e)
	}
	return m
}

// FailedError says that some images were not relocated. Their errors are in the
// map.
type FailedError struct {
	Failed, All int
	First       error // of one of them

	code int
}

// add counts one more failure.
func (e *FailedError) add(err error) {
	code := 1
	var coder interface{ ExitCode() int }
	if errors.As(err, &coder) {
		code = coder.ExitCode()
	}
	if e.Failed++; e.Failed == 1 {
		e.First, e.code = err, code
	} else if code != e.code {
		e.code = 1
	}
}

// Error counts the images.
func (e *FailedError) Error() string {
	if e.All == 1 {
		return e.First.Error()
	}
	return fmt.Sprintf("%d of %d images were not relocated, one of them because: %v", e.Failed, e.All, e.First)
}

// ExitCode is that of the failures if they all ask for the same, else 1.
func (e *FailedError) ExitCode() int { return e.code }

// Hint gives the advice of the first error, where it has any.
func (e *FailedError) Hint() string {
	var h interface{ Hint() string }
	if errors.As(e.First, &h) {
		return h.Hint()
	}
	return ""
}
