package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// RebuildOptions say how to build again.
type RebuildOptions struct {
	// SourceDirs are where sources are looked for, by digest.
	SourceDirs []string
	// Fetch allows to ask the web servers and registries that a provenance names.
	// Whoever may write to a repository may attach one.
	Fetch bool
	// Provenance chooses one by the digest of its manifest. Empty: there must be
	// only one.
	Provenance digest.Digest
	// Client opens sources that are images, and stores what is built.
	Client *transport.Client
	// PlainHTTP and TempDir are as in Options; TempDir also holds the new image.
	PlainHTTP bool
	TempDir   string
	// Log and Progress are as in Options.
	Log      func(format string, a ...any)
	Progress transport.Progress
}

// Rebuilt tells about one manifest that was built again.
type Rebuilt struct {
	Digest     digest.Digest `json:"digest"`     // of the manifest that was there
	Provenance digest.Digest `json:"provenance"` // of the manifest that holds what was followed
	// Tool is the version of the program that built it first.
	Tool  string  `json:"tool"`
	Found []Input `json:"inputs"`
	// Rebuilt is the digest of the new manifest, and Same whether that is Digest.
	Rebuilt digest.Digest `json:"rebuilt"`
	Same    bool          `json:"same"`
	// Differences say what is not the same, a line for each.
	Differences []string `json:"differences,omitempty"`
}

// Rebuild builds what src names again, as its provenance says, and compares the
// digests; below an index, every manifest. A provenance that lies leads to another
// digest, so it need not be trusted: an equal digest proves that these sources and
// these options make this image.
//
// That a digest differs is no error. Errors tell their exit code: 3 for a
// provenance that is refused, 4 where there is none or a source is not found.
func Rebuild(ctx context.Context, src transport.Source, o RebuildOptions) ([]Rebuilt, error) {
	all, err := manifestsOf(ctx, src, true)
	if err != nil {
		return nil, err
	}
	var done []Rebuilt
	for _, d := range all {
		if spec.IsIndex(d.MediaType) {
			continue
		}
		r, err := rebuild(ctx, src, d, &o)
		if err != nil {
			return done, fmt.Errorf("building %s again: %w", d.Digest, err)
		}
		done = append(done, *r)
	}
	return done, nil
}

// rebuild builds one manifest.
func rebuild(ctx context.Context, src transport.Source, d ocispec.Descriptor, o *RebuildOptions) (*Rebuilt, error) {
	from, err := chooseProvenance(ctx, src, d.Digest, o.Provenance)
	if err != nil {
		return nil, err
	}
	def := &from.Provenance.Predicate.BuildDefinition
	r := &Rebuilt{Digest: d.Digest, Provenance: from.Digest, Tool: from.Provenance.Predicate.RunDetails.Builder.Version["nbpack"]}
	f, err := newFinder(o.SourceDirs, o.Fetch, func(i Input) { r.Found = append(r.Found, i) })
	if err != nil {
		return nil, err
	}
	options, err := def.ExternalParameters.options()
	if err != nil {
		return nil, err
	}
	options.again, options.Client, options.PlainHTTP, options.TempDir = f.again, o.Client, o.PlainHTTP, o.TempDir
	options.Log, options.Progress = o.Log, o.Progress
	err = f.find(ctx, def, func(name, disk string) (string, error) { return hashDirectory(ctx, options, name, disk) })
	if err != nil {
		return nil, err
	}
	options.Pins = def.pins(r.Found)
	return r, r.build(ctx, src, d, from.Provenance.Subject[0].Name, options)
}

// pins gives the pins of the build, which matter where the image tells digests. A
// source that has changed is not held to its own.
func (d *BuildDefinition) pins(found []Input) map[string]string {
	pins := map[string]string{}
	for _, name := range d.ExternalParameters.Pinned {
		for _, i := range found {
			if i.Name == name && i.Role == RoleSource && !i.Changed && !source.IsURL(name) {
				pins[name] = i.Promised.Encoded()
			}
		}
	}
	return pins
}

// chooseProvenance gives what says how a manifest was built.
func chooseProvenance(ctx context.Context, src transport.Source, subject, which digest.Digest) (*Referrer, error) {
	reader, err := transport.Attachments(src)
	if err != nil {
		return nil, err
	}
	list, err := referrers(ctx, reader, subject, MediaTypeStatement, which)
	if err != nil {
		return nil, err
	}
	var chosen *Referrer
	hint := "choose one with --provenance DIGEST:"
	var failed error
	for i := range list {
		r := &list[i]
		if r.Provenance == nil {
			failed = r.why(subject)
			continue
		}
		if hint += " " + r.Digest.String(); chosen != nil {
			return nil, badOption(hint, "several provenances are attached")
		}
		chosen = r
	}
	if chosen == nil && failed != nil {
		return nil, failed
	}
	if chosen == nil {
		return nil, &notFound{errors.New("no provenance is attached"), "nbpack build --provenance attaches it"}
	}
	return chosen, nil
}

// why says what is wrong with a statement.
func (r *Referrer) why(subject digest.Digest) error {
	if r.Problem != "" {
		return fmt.Errorf("reading the statement %s: %s", r.Digest, r.Problem)
	}
	_, err := ParseStatement(r.Document, subject)
	return err
}

// build builds into a layout that nobody keeps, and compares.
func (r *Rebuilt) build(ctx context.Context, src transport.Source, d ocispec.Descriptor, title string, o Options) (err error) {
	dir, err := os.MkdirTemp(cmp.Or(o.TempDir, os.Getenv("TMPDIR"), "/var/tmp"), "nbpack-rebuild-*")
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(dir); err == nil && gone != nil {
			err = fmt.Errorf("removing a temporary directory: %w", gone)
		}
	}()
	dst := transport.Reference{Transport: transport.OCI, Name: filepath.Join(dir, "layout"), Tag: cmp.Or(o.IndexTag, "again")}
	plan, err := Scan(ctx, o)
	if err != nil {
		return err
	}
	defer plan.Close() // nothing was written through it
	results, err := Build(ctx, o.Client, plan, dst)
	if err != nil {
		return err
	}
	for _, result := range results { // several are single files
		if result.Digest == d.Digest {
			r.Rebuilt, r.Same = d.Digest, true
			return nil
		}
		if r.Rebuilt == "" || result.Title == title {
			r.Rebuilt = result.Digest
		}
	}
	return r.compare(ctx, src, d, o.Client, dst)
}

// compare finds out what differs.
func (r *Rebuilt) compare(ctx context.Context, src transport.Source, d ocispec.Descriptor, c *transport.Client, dst transport.Reference) error {
	was, err := Inspect(ctx, one{src, d}, "")
	if err != nil {
		return err
	}
	dst.Tag, dst.Digest = "", r.Rebuilt
	again, err := c.Source(ctx, dst)
	if err != nil {
		return err
	}
	defer again.Close()
	is, err := Inspect(ctx, again, "")
	if err != nil {
		return err
	}
	r.Differences = differences(was, is)
	return nil
}

// one is one manifest of a source.
type one struct {
	transport.Source
	desc ocispec.Descriptor
}

// Resolve implements transport.Source.
func (o one) Resolve(context.Context) (ocispec.Descriptor, error) { return o.desc, nil }
