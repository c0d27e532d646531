package index

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// EntryOf gives the index entry of a child that names its index itself, from
// its manifest alone, so that every writer of the index writes the same bytes.
func EntryOf(d ocispec.Descriptor, m *ocispec.Manifest) (ocispec.Descriptor, error) {
	text := m.Annotations[spec.AnnotationIndexPlatform]
	p, err := spec.ParseIndexPlatform(text)
	if err != nil {
		return ocispec.Descriptor{}, spec.Refuse(spec.RulePlatform, spec.AnnotationIndexPlatform, "%q is not the platform of an index entry", text)
	}
	if p.OSVersion == "" {
		p.OSVersion = osVersion(m.Annotations)
	}
	e := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: p.OCI(), ArtifactType: artifactType(m)}
	notes := formAnnotations(m, m.Annotations)
	for _, k := range append(parseKeys(m.Annotations[spec.AnnotationIndexIdentity]), annotationDiskType) {
		if v := m.Annotations[k]; v != "" {
			notes[k] = v
		}
	}
	if len(notes) > 0 {
		e.Annotations = notes // never an empty object or null
	}
	return e, nil
}

// formAnnotations gives what the form of a manifest says about its entry;
// labels are those of a netboot image.
func formAnnotations(m *ocispec.Manifest, labels map[string]string) map[string]string {
	notes := map[string]string{}
	if v := labels[spec.LabelVersion]; v != "" {
		notes[spec.LabelVersion] = v
	} else if m.ArtifactType == spec.ArtifactType {
		notes[spec.LabelVersion] = spec.Version
	}
	if title := singleTitle(m); title != "" {
		notes[ocispec.AnnotationTitle] = title
	}
	return notes
}

// singleTitle is the name of the only file of an artifact.
func singleTitle(m *ocispec.Manifest) string {
	if len(m.Layers) != 1 || artifactType(m) == "" || m.ArtifactType == spec.ArtifactType {
		return ""
	}
	return m.Layers[0].Annotations[ocispec.AnnotationTitle]
}

// artifactType gives what the descriptor of a manifest says about it: its own
// artifactType, else the type of a config that is not that of an image.
func artifactType(m *ocispec.Manifest) string {
	if m.ArtifactType != "" || spec.IsConfig(m.Config.MediaType) {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

// osVersion is the os.version of netboot content: NAME-VERSION.
func osVersion(labels map[string]string) string {
	name, version := labels[spec.LabelOSName], labels[spec.LabelOSVersion]
	if name == "" || version == "" {
		return ""
	}
	return name + "-" + version
}

// sameEntry tells whether two entries say the same, however they are written.
func sameEntry(a, b ocispec.Descriptor) bool {
	return slotOf(a) == slotOf(b) && a.Digest == b.Digest && a.MediaType == b.MediaType && a.Size == b.Size &&
		reflect.DeepEqual(a.URLs, b.URLs) && string(a.Data) == string(b.Data)
}

// slotOf is all of an entry but the content that it names: what stays when a
// foreign tool replaces that.
func slotOf(d ocispec.Descriptor) string {
	p := d.Platform
	if p == nil {
		p = &ocispec.Platform{}
	}
	notes := make(map[string]string, len(d.Annotations))
	maps.Copy(notes, d.Annotations)
	// Maps are printed in the order of their keys.
	return fmt.Sprintf("%q %q %q", *p, d.ArtifactType, notes)
}

// shown describes an entry in a message.
func shown(d ocispec.Descriptor) string {
	s := d.Digest.String()
	if p := platformString(d.Platform); p != "" {
		s += " (" + p + ")"
	}
	if disk := d.Annotations[annotationDiskType]; disk != "" {
		s += fmt.Sprintf(" %q", disk)
	}
	return s
}

// list describes entries in a message and stops after a dozen.
func list(entries []ocispec.Descriptor) string {
	const most = 12
	s := ""
	for i, d := range entries {
		if i == most {
			return s + fmt.Sprintf(" and %d more", len(entries)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += shown(d)
	}
	return s
}
