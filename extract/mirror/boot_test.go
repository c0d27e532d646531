package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// An artifact lacks what a path needs, or is no set of raw files: it is mirrored,
// and nothing is laid out.
func TestNoBootFiles(t *testing.T) {
	h := newHarness(t)
	layer := h.blob("a", spec.MediaTypeFile, "kernel")
	layer.Annotations = map[string]string{ocispec.AnnotationTitle: "kernel"}
	whole := func() ocispec.Manifest {
		return ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: spec.ArtifactType,
			Config: h.blob("a", ocispec.MediaTypeEmptyJSON, "{}"), Layers: []ocispec.Descriptor{layer},
			Annotations: map[string]string{spec.LabelVersion: "1", spec.LabelOSName: "os", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64"},
		}
	}
	titled := func(title string) []ocispec.Descriptor {
		l := layer
		l.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		return []ocispec.Descriptor{l}
	}
	for name, change := range map[string]func(m *ocispec.Manifest){
		"no labels":   func(m *ocispec.Manifest) { m.Annotations = nil },
		"no version":  func(m *ocispec.Manifest) { delete(m.Annotations, spec.LabelOSVersion) },
		"bad version": func(m *ocispec.Manifest) { m.Annotations[spec.LabelOSVersion] = "../../etc" },
		"reserved":    func(m *ocispec.Manifest) { m.Annotations[spec.LabelOSName] = "by-digest" },
		"escapes":     func(m *ocispec.Manifest) { m.Layers = titled("../../../x") },
		"absolute":    func(m *ocispec.Manifest) { m.Layers = titled("/etc/x") },
		"twice":       func(m *ocispec.Manifest) { m.Layers = append(titled("x"), titled("x")...) },
		"disk":        func(m *ocispec.Manifest) { m.Annotations[spec.AnnotationDiskType] = "qcow2" },
		"single file": func(m *ocispec.Manifest) { m.ArtifactType = spec.FileArtifactType },
		"compressed": func(m *ocispec.Manifest) {
			m.ArtifactType, m.Layers[0].MediaType = "", spec.MediaTypeFileZstd
		},
		"directory": func(m *ocispec.Manifest) {
			m.Layers = titled("dir")
			m.Layers[0].Annotations[spec.AnnotationUnpack] = "true"
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := whole()
			change(&m)
			h.t = t
			h.put("a", "v", ocispec.MediaTypeImageManifest, m)
			r := h.mustRun(nil, "a:v")
			if len(r.Boot) != 0 || h.exists("boot") {
				t.Errorf("boot files: %+v", r.Boot)
			}
		})
	}
	h.t = t
	h.put("a", "v", ocispec.MediaTypeImageManifest, whole())
	if r := h.mustRun(nil, "a:v"); len(r.Boot) != 1 || !h.exists("boot/os/1/amd64/kernel") {
		t.Errorf("boot files: %+v", r.Boot)
	}
}

// Files of the site, and directories of others, stay.
func TestBootStrangers(t *testing.T) {
	h := newHarness(t)
	h.artifact("a", "v", "os", map[string]string{"kernel": "one"})
	boot := filepath.Join(h.dir, "boot/os/1/amd64")
	if err := os.MkdirAll(boot, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := h.run(nil, "a:v")
	if err == nil || len(r.Failures) != 1 || !strings.Contains(err.Error(), "was not made by this mirror") {
		t.Errorf("a directory of somebody else: %v", err)
	}
	if err := os.Remove(boot); err != nil {
		t.Fatal(err)
	}
	h.mustRun(nil, "a:v")
	site := filepath.Join(boot, "grub.cfg")
	if err := os.WriteFile(site, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.artifact("a", "v", "os", map[string]string{"kernel": "two"})
	if _, err := h.run(nil, "a:v"); err == nil || !strings.Contains(err.Error(), "grub.cfg") {
		t.Errorf("a file of the site: %v", err)
	}
	if b, err := os.ReadFile(site); err != nil || string(b) != "mine" {
		t.Errorf("the site's file is %q, %v", b, err)
	}
	if b, _ := os.ReadFile(filepath.Join(boot, "kernel")); string(b) != "one" {
		t.Errorf("the kernel is %q", b)
	}
	if err := os.Remove(site); err != nil {
		t.Fatal(err)
	}
	h.mustRun(nil, "a:v")
	if b, _ := os.ReadFile(filepath.Join(boot, "kernel")); string(b) != "two" {
		t.Errorf("the kernel is %q", b)
	}
}

// Of two references that want one directory the first has it, whoever is faster.
func TestBootTwice(t *testing.T) {
	h := newHarness(t)
	first := h.artifact("a", "1", "os", map[string]string{"kernel": "one"})
	h.artifact("a", "2", "os", map[string]string{"kernel": "two"})
	for range 3 {
		r := h.mustRun(nil, "a:1", "a:2")
		if len(r.Boot) != 1 || r.Boot[0].Digest != first.Digest {
			t.Errorf("%+v", r.Boot)
		}
	}
}

// Without its state a run leaves the files that are right and takes them over.
func TestBootStateLost(t *testing.T) {
	h := newHarness(t)
	h.artifact("a", "v", "os", map[string]string{"kernel": "one"})
	h.mustRun(nil, "a:v")
	if err := os.Remove(filepath.Join(h.dir, stateFile)); err != nil {
		t.Fatal(err)
	}
	h.mustRun(nil, "a:v")
	h.artifact("a", "v", "os", map[string]string{"kernel": "two"})
	r := h.mustRun(nil, "a:v")
	if len(r.Boot) != 1 || !r.Boot[0].Changed {
		t.Errorf("%+v", r.Boot)
	}
}
