package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// altered is a source whose documents were changed: config and manifest are
// rewritten consistently, layers stay.
type altered struct {
	transport.Source
	manifest []byte
	config   []byte
	desc     ocispec.Descriptor
}

func alter(t *testing.T, src transport.Source, change func(*ocispec.Manifest, *ocispec.Image)) *altered {
	t.Helper()
	docs, err := readDocuments(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	change(docs.manifest, docs.config)
	a := &altered{Source: src}
	if a.config, err = json.Marshal(docs.config); err != nil {
		t.Fatal(err)
	}
	docs.manifest.Config.Digest, docs.manifest.Config.Size = digest.FromBytes(a.config), int64(len(a.config))
	if a.manifest, err = json.Marshal(docs.manifest); err != nil {
		t.Fatal(err)
	}
	a.desc = ocispec.Descriptor{MediaType: docs.manifest.MediaType, Digest: digest.FromBytes(a.manifest), Size: int64(len(a.manifest))}
	return a
}

func (a *altered) Resolve(context.Context) (ocispec.Descriptor, error) { return a.desc, nil }

func (a *altered) Manifest(context.Context, ocispec.Descriptor) ([]byte, string, error) {
	return a.manifest, a.desc.MediaType, nil
}

func (a *altered) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest == digest.FromBytes(a.config) {
		return io.NopCloser(bytes.NewReader(a.config)), nil
	}
	return a.Source.Blob(ctx, d)
}

func TestLint(t *testing.T) {
	ref, _ := buildInto(t, amd64(writeTree(t, t.TempDir(), bootTree()...)))
	src, err := newClient(t).Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, tc := range []struct {
		rule   string
		change func(*ocispec.Manifest, *ocispec.Image)
	}{
		{spec.RuleVersion, func(m *ocispec.Manifest, c *ocispec.Image) {
			delete(m.Annotations, spec.LabelVersion)
			delete(c.Config.Labels, spec.LabelVersion)
		}},
		{spec.RuleLabelsAgree, func(m *ocispec.Manifest, _ *ocispec.Image) { m.Annotations[spec.LabelOSName] = "other" }},
		{spec.RuleDiffID, func(_ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[1] = digest.FromString("x") }},
		{spec.RuleSumsMissing, func(m *ocispec.Manifest, c *ocispec.Image) {
			m.Layers, c.RootFS.DiffIDs = m.Layers[1:], c.RootFS.DiffIDs[1:]
		}},
		{spec.RuleLayerType, func(m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[1].MediaType = "application/x-thing" }},
		{spec.RuleLayerSize, func(m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[1].Annotations[spec.AnnotationUncompressedSize] = "10"
		}},
		{spec.RuleEntrypoint, func(m *ocispec.Manifest, c *ocispec.Image) {
			m.Annotations[spec.LabelEntrypoint], c.Config.Labels[spec.LabelEntrypoint] = "x.efi", "x.efi"
		}},
		{spec.RuleOSArch, func(_ *ocispec.Manifest, c *ocispec.Image) { c.Architecture = "arm64" }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			report, err := Lint(t.Context(), alter(t, src, tc.change))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(report.Violations, func(v spec.Violation) bool { return v.Rule == tc.rule }) {
				t.Errorf("violations %+v", report.Violations)
			}
		})
	}
}

// TestLintOfDamage flips a byte of each blob of a layout in turn.
func TestLintOfDamage(t *testing.T) {
	ref, r := buildInto(t, amd64(writeTree(t, t.TempDir(), bootTree()...)))
	for _, d := range append([]digest.Digest{r.Digest, r.Config.Digest}, r.Layers[0].Digest, r.Layers[1].Digest) {
		file := filepath.Join(ref.Name, "blobs", "sha256", d.Encoded())
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(good)
		bad[len(bad)/2] ^= 1
		if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, bad, 0o600)); err != nil {
			t.Fatal(err)
		}
		src, err := newClient(t).Source(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		report, err := Lint(t.Context(), src)
		if err != nil || len(withSeverity(report.Violations, spec.SeverityError)) == 0 {
			t.Errorf("%s: error %v, report %+v", d, err, report)
		}
		_ = src.Close()
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noViolations(t, ref)
}

func TestInspect(t *testing.T) {
	o := amd64(writeTree(t, t.TempDir(), bootTree()...))
	o.Labels = map[string]string{"org.opencontainers.image.source": "here"}
	ref, r := buildInto(t, o)
	src, err := newClient(t).Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info, err := Inspect(t.Context(), src, ref.String())
	if err != nil {
		t.Fatal(err)
	}
	if info.Digest != r.Digest || info.Platform != "linux/amd64" || len(info.Files) != r.Files || len(info.Layers) != 2 ||
		info.Labels["org.opencontainers.image.source"] != "here" || info.Layers[1].DiffID != r.Layers[1].DiffID {
		t.Errorf("%+v", info)
	}
}
