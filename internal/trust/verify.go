package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds on what one Verify looks at. A publisher has a handful of signatures;
// whoever may write to a repository could attach thousands.
const (
	// MaxAttachments is how many signatures of each form are looked at.
	MaxAttachments = 64
	defaultTimeout = 2 * time.Minute
)

// Reader reads a repository and knows what is attached to its manifests.
type Reader interface {
	// Manifest returns a manifest that has the digest and the size (unless that is
	// -1) of d.
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error)
	// Blob opens a blob as a stream that only ends well if it was that of d.
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// Referrers lists the manifests whose subject is d; of one artifact type, or
	// of all for "". None is no error.
	Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error)
	// Attached describes the manifest under the tag ALGORITHM-HEX.SUFFIX of d;
	// false if there is none.
	Attached(ctx context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error)
}

// Verify decides whether what d describes is signed as the policy demands. It
// reads nothing of the image itself: the digest is what is signed, and whoever
// reads the image compares that. repository is "HOST/NAME" for a registry, else "".
//
// All signatures are tried until enough count. An *UnverifiedError says that
// they do not suffice. Other errors say that it could not be found out; the image
// must not be used then either.
func (p *Policy) Verify(ctx context.Context, r Reader, repository string, d ocispec.Descriptor) (*Evidence, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if _, err := spec.ParseDigest(d.Digest.String()); err != nil {
		return nil, err
	}
	timeout := p.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	bounded, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("its signatures did not come within %v", timeout))
	defer cancel()
	v := &verification{
		policy: p, reader: r, repository: repository, digest: d.Digest,
		evidence: &Evidence{Digest: d.Digest, Policy: p.ID()},
		problems: &UnverifiedError{Digest: d.Digest, Threshold: p.threshold()},
	}
	err := v.run(bounded)
	switch {
	case err == nil:
		return v.evidence, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bounded.Err() != nil:
		return nil, fmt.Errorf("verify %s: %w", d.Digest, context.Cause(bounded))
	}
	var unverified *UnverifiedError
	if errors.As(err, &unverified) {
		return nil, err
	}
	return nil, fmt.Errorf("verify %s: %w", d.Digest, err)
}

// Admit applies the policy to an image that is reached through top: entry is a
// manifest that the verified bytes of top name, directly or not, or top itself.
// The scope says which of the two has to be signed.
func (p *Policy) Admit(ctx context.Context, r Reader, repository string, top, entry ocispec.Descriptor) (*Evidence, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if p.Scope == ScopeEntry {
		return p.Verify(ctx, r, repository, entry)
	}
	evidence, err := p.Verify(ctx, r, repository, top)
	var unverified *UnverifiedError
	if p.Scope == ScopeEither && entry.Digest != top.Digest && errors.As(err, &unverified) {
		return p.Verify(ctx, r, repository, entry)
	}
	return evidence, err
}

// verification is one Verify.
type verification struct {
	policy     *Policy
	reader     Reader
	repository string
	digest     digest.Digest
	evidence   *Evidence
	problems   *UnverifiedError
	failed     error // the first failure to read, which is not the signature's fault
}

func (v *verification) run(ctx context.Context) error {
	for _, look := range []func(context.Context) error{v.bundles, v.simple} {
		if err := look(ctx); err != nil {
			return err
		}
		if v.enough() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if v.failed != nil {
		return v.failed
	}
	v.problems.Good = len(v.evidence.Signers)
	return v.problems
}

func (v *verification) enough() bool { return len(v.evidence.Signers) >= v.policy.threshold() }

// bundles looks at the referrers that are bundles.
func (v *verification) bundles(ctx context.Context) error {
	all, err := v.reader.Referrers(ctx, v.digest, "")
	if err != nil {
		return fmt.Errorf("list what refers to it: %w", err)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(d ocispec.Descriptor) bool { return !mayBeBundle(d) })
	for i, d := range all {
		if v.enough() {
			return nil
		}
		if i == MaxAttachments {
			v.problems.More += len(all) - i
			return nil
		}
		if err := v.attachment(ctx, d, v.bundle); err != nil {
			return err
		}
	}
	return nil
}

// mayBeBundle leaves out what says itself that it is something else. That is not
// verified, so it may only ever lead to fewer signatures.
func mayBeBundle(d ocispec.Descriptor) bool {
	if t := d.ArtifactType; t != "" && t != ocispec.MediaTypeEmptyJSON && !strings.HasPrefix(t, bundleTypePrefix) {
		return false
	}
	says := d.Annotations[annotationPredicate]
	return says == "" || says == claimType
}

// simple looks at the layers of the .sig image.
func (v *verification) simple(ctx context.Context) error {
	d, there, err := v.reader.Attached(ctx, v.digest, SuffixSimple)
	if err != nil {
		return fmt.Errorf("look for its .sig tag: %w", err)
	}
	if !there {
		return nil
	}
	return v.attachment(ctx, d, v.simpleImage)
}

// attachment reads a manifest of signatures and judges it. What is wrong with
// it is a problem of this one; what keeps it from being read is kept in case that
// nothing else suffices.
func (v *verification) attachment(ctx context.Context, d ocispec.Descriptor, judge func(context.Context, ocispec.Descriptor, *ocispec.Manifest) error) error {
	m, err := v.manifest(ctx, d)
	if err == nil {
		err = judge(ctx, d, m)
	}
	return v.blame(ctx, err)
}

// blame notes why a signature does not count.
func (v *verification) blame(ctx context.Context, err error) error {
	var refusal *spec.Refusal
	var reading *readError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &reading) && !errors.As(err, &refusal):
		if v.failed == nil {
			v.failed = err
		}
		return nil
	}
	v.problems.Seen++
	var elsewhere *elsewhereError
	v.problems.elsewhere = v.problems.elsewhere || errors.As(err, &elsewhere)
	v.problems.note(err.Error())
	return nil
}

// readError is a failure of the reader.
type readError struct{ err error }

func (e *readError) Error() string { return "read a signature: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func (v *verification) manifest(ctx context.Context, d ocispec.Descriptor) (*ocispec.Manifest, error) {
	body, mediaType, err := v.reader.Manifest(ctx, d)
	if err != nil {
		return nil, &readError{err}
	}
	if spec.IsIndex(mediaType) {
		return nil, errors.New("a signature that is an index")
	}
	return spec.ParseManifest(mediaType, body)
}

// read reads one signature, which is small.
func (v *verification) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > MaxBundleSize {
		return nil, fmt.Errorf("a signature of %d bytes, %d are permitted", d.Size, MaxBundleSize)
	}
	r, err := v.reader.Blob(ctx, d)
	if err != nil {
		return nil, &readError{err}
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, MaxBundleSize+1))
	if err != nil {
		return nil, &readError{err}
	}
	return body, nil
}
