package extract

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/spec"
)

// TestSpace: layers count once, and what is reused does not.
func TestSpace(t *testing.T) {
	known := layerIndex{}
	jobs := []*job{files("1", 10, "2", 20), files("2", 20, "3", 40)}
	if got := spaceFor(jobs, known, nil); got != 70 {
		t.Errorf("%d bytes", got)
	}
	if got := spaceFor(jobs, known, map[*job]int64{jobs[0]: 100, jobs[1]: 15}); got != 25 {
		t.Errorf("%d bytes", got)
	}
	jobs = []*job{files("1", 1<<62, "2", 20), files("2", 20, "3", 1<<62)}
	if got := spaceFor(jobs, known, nil); got <= 0 {
		t.Errorf("%d bytes", got)
	}
}

// files brings two files of these digests and sizes.
func files(a digest.Digest, sizeA int64, b digest.Digest, sizeB int64) *job {
	return &job{target: &resolve.Target{
		Manifest: &ocispec.Manifest{Layers: []ocispec.Descriptor{{Digest: a, Size: sizeA}, {Digest: b, Size: sizeB}}},
		Holds:    []spec.ArtifactLayer{{Path: "a", Size: sizeA}, {Path: "b", Size: sizeB}},
	}}
}
