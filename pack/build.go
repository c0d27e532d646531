package pack

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build writes what is planned to dst, and tells what it published: an image, an
// artifact, or one artifact for each file. It reads each source file once, in
// pieces, and looks at all sources again at the end: if anything changed since
// Scan, or a rule of the format would be broken, nothing is published. Tags are
// written last.
func Build(ctx context.Context, c *transport.Client, plan *Plan, dst transport.Reference) ([]Result, error) {
	return BuildAll(ctx, c, []*Plan{plan}, dst)
}

// BuildAll does for several plans what Build does for one: all of them are read
// and made before the first is published.
func BuildAll(ctx context.Context, c *transport.Client, plans []*Plan, dst transport.Reference) ([]Result, error) {
	for _, plan := range plans {
		if err := plan.CheckDestination(dst); err != nil {
			return nil, err
		}
	}
	var builds []*build
	for _, plan := range plans {
		b := &build{plan: plan, files: &sourceFiles{plan: plan, boot: plan.bootChecker()}}
		defer b.close()
		builds = append(builds, b)
		err := b.prepare(ctx, c, dst)
		if err != nil && len(plans) > 1 {
			err = fmt.Errorf("%s: %w", plan.Platform, err)
		}
		if err != nil {
			return nil, err
		}
	}
	var results []Result
	for _, b := range builds {
		published, err := b.publish(ctx)
		results = append(results, published...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// prepare makes everything that will be published.
func (b *build) prepare(ctx context.Context, c *transport.Client, dst transport.Reference) error {
	for _, p := range b.plan.manifests() {
		if err := b.begin(ctx, c, p, dst); err != nil {
			return err
		}
	}
	return b.make(ctx)
}

// build is one run of Build. All its manifests are whole before the first of
// them is published.
type build struct {
	plan  *Plan
	files *sourceFiles
	jobs  []*job
}

// job is one manifest under construction.
type job struct {
	planned
	plan  *Plan
	files *sourceFiles
	dst   transport.Reference
	stage *transport.Stage
	form  form
	docs  *documents // as form made them
	raw   []byte     // the manifest
}

// form knows what a manifest and its blobs look like.
type form interface {
	// fill reads the planned files and stores them as blobs.
	fill(ctx context.Context) error
	// finish stores the blobs that are made up here, and gives the documents,
	// which keep every rule of the format.
	finish(ctx context.Context) (*documents, error)
}

// begin prepares one manifest.
func (b *build) begin(ctx context.Context, c *transport.Client, p planned, dst transport.Reference) error {
	dst, err := b.plan.place(p, dst)
	if err != nil {
		return err
	}
	stage, err := c.NewStage(ctx, dst)
	if err != nil {
		return fmt.Errorf("preparing %q: %w", dst, err)
	}
	j := &job{planned: p, plan: b.plan, files: b.files, dst: dst, stage: stage}
	if b.plan.Format == FormatImage {
		j.form = &imageForm{job: j}
	} else {
		j.form = newArtifactForm(j)
	}
	b.jobs = append(b.jobs, j)
	return nil
}

// make reads the sources and makes everything that will be published.
func (b *build) make(ctx context.Context) error {
	for _, j := range b.jobs {
		if err := j.form.fill(ctx); err != nil {
			return fmt.Errorf("packing: %w", err)
		}
	}
	if err := b.plan.set.Recheck(ctx); err != nil {
		return err
	}
	if err := b.lint(); err != nil {
		return err
	}
	for _, j := range b.jobs {
		if err := j.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// finish makes the bytes of the manifest.
func (j *job) finish(ctx context.Context) error {
	var err error
	if j.docs, err = j.form.finish(ctx); err != nil {
		return err
	}
	if j.raw, err = encode(j.docs.manifest); err != nil {
		return err
	}
	if len(j.raw) > spec.MaxManifestSize {
		return refuse(spec.RuleDocumentSize, "", "pack fewer files, or a single layer",
			"the manifest has %d bytes, %d are permitted", len(j.raw), spec.MaxManifestSize)
	}
	return nil
}

// checkWritten holds what was written against every rule of the format, also
// those that consumers do not insist on.
func checkWritten(img *spec.Image) error {
	violations := spec.Check(img)
	if len(violations) == 0 {
		return nil
	}
	v := violations[0]
	return refuse(v.Rule, v.Path, v.Advice, "what was packed would break a rule of the format: %s", v.Message)
}

func (b *build) publish(ctx context.Context) ([]Result, error) {
	var results []Result
	for _, j := range b.jobs {
		var err error
		if j.docs.desc, err = j.stage.Publish(ctx, ocispec.MediaTypeImageManifest, j.raw); err != nil {
			return nil, err // it names the destination
		}
		results = append(results, j.result())
	}
	return results, nil
}

// close removes what is left of the work. What was published is not concerned,
// so a failure is no failure of the build.
func (b *build) close() {
	for _, j := range b.jobs {
		if err := j.stage.Close(); err != nil {
			b.plan.options.log("removing what is left of the work: %v", err)
		}
	}
}
