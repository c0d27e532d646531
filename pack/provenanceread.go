package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ruleProvenance is the id of refusals of what a provenance says.
const ruleProvenance = "provenance"

// Referrer is a manifest that refers to another one. Whoever may write to a
// repository may attach what they like; only signatures tell who did.
type Referrer struct {
	Digest       digest.Digest     `json:"digest"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	// Document is a statement or a list of files, as it is.
	Document json.RawMessage `json:"document,omitempty"`
	// Problem says why a document of these types is not given.
	Problem string `json:"problem,omitempty"`
	// Provenance is the document as what Attach wrote, else nil; and so is SBOM.
	Provenance *Statement `json:"-"`
	SBOM       *SBOM      `json:"-"`
}

// maxDocuments bounds how many bytes of documents are read for one manifest; of how many
// documents is bounded as the number of signatures is.
const maxDocuments = 128 << 20

// Referrers lists what refers to a manifest, with the statements and the lists of
// files among it.
func Referrers(ctx context.Context, src transport.Source, subject digest.Digest) ([]Referrer, error) {
	reader, err := transport.Attachments(src)
	if err != nil {
		return nil, err
	}
	return referrers(ctx, reader, subject, "", "")
}

// referrers lists those of an artifact type, or the one that has a digest; either may
// be empty.
func referrers(ctx context.Context, src transport.AttachmentSource, subject digest.Digest, artifactType string, which digest.Digest) ([]Referrer, error) {
	found, err := src.Referrers(ctx, subject, artifactType)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b ocispec.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	room, reads := maxDocuments, 0
	var list []Referrer
	for _, d := range found {
		if which != "" && d.Digest != which {
			continue
		}
		r := Referrer{Digest: d.Digest, ArtifactType: d.ArtifactType, Annotations: d.Annotations}
		switch described := r.ArtifactType == MediaTypeStatement || r.ArtifactType == MediaTypeSBOM; {
		case described && reads == trust.MaxAttachments:
			r.Problem = fmt.Sprintf("it is not read, as %d others were", reads)
		case described:
			reads++
			if err := r.read(ctx, src, d, subject, &room); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				r.Document, r.Problem = nil, err.Error()
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// read gets the document and looks at it.
func (r *Referrer) read(ctx context.Context, src transport.Source, d ocispec.Descriptor, subject digest.Digest, room *int) error {
	body, err := readDocumentOf(ctx, src, d, subject, r.ArtifactType, *room)
	if err != nil {
		return err
	}
	*room -= len(body)
	r.Document = body
	if r.ArtifactType == MediaTypeSBOM {
		var s SBOM
		if err := spec.UnmarshalStrict(body, &s); err != nil {
			return err
		}
		if s.Version == sbomVersion {
			r.SBOM = &s
		}
		return nil
	}
	if err := spec.UnmarshalStrict(body, &struct{}{}); err != nil {
		return err
	}
	// Statements by others are no fault, and only shown.
	if s, err := ParseStatement(body, subject); err == nil {
		r.Provenance = s
	}
	return nil
}

// readDocumentOf reads the only layer of a referrer.
func readDocumentOf(ctx context.Context, src transport.Source, d ocispec.Descriptor, subject digest.Digest, mediaType string, room int) ([]byte, error) {
	raw, manifestType, err := src.Manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := spec.ParseManifest(manifestType, raw)
	if err != nil {
		return nil, err
	}
	if m.Subject == nil || m.Subject.Digest != subject {
		return nil, fmt.Errorf("%s does not refer to %s", d.Digest, subject)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != mediaType {
		return nil, fmt.Errorf("%s does not hold one document of type %q", d.Digest, mediaType)
	}
	if most := min(maxDocument(mediaType), room); m.Layers[0].Size > int64(most) {
		return nil, fmt.Errorf("the document has %d bytes, %d are permitted", m.Layers[0].Size, most)
	}
	blob, err := src.Blob(ctx, m.Layers[0])
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(blob)
}

// ParseStatement reads a provenance as Attach writes it, about a manifest. What
// nbpack would not understand wholly is refused: a build without an option would
// be another build.
func ParseStatement(body []byte, subject digest.Digest) (*Statement, error) {
	var s Statement
	if err := spec.UnmarshalStrict(body, &s); err != nil {
		return nil, err
	}
	def := &s.Predicate.BuildDefinition
	if s.Type != statementType || s.PredicateType != provenanceType || def.BuildType != buildType {
		return nil, refuse(ruleProvenance, "", "", "the statement is of type %q about %q, and the build of type %q", s.Type, s.PredicateType, def.BuildType)
	}
	if !slices.ContainsFunc(s.Subject, func(r Resource) bool { return r.Digest[subject.Algorithm().String()] == subject.Encoded() }) {
		return nil, refuse(ruleProvenance, "", "", "the statement is not about %s", subject)
	}
	var raw struct {
		Predicate struct {
			BuildDefinition struct {
				ExternalParameters json.RawMessage `json:"externalParameters"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, refuse(spec.RuleJSON, "", "", "the statement: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw.Predicate.BuildDefinition.ExternalParameters))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&Parameters{}); err != nil {
		return nil, refuse(ruleProvenance, "", "a newer nbpack may know more", "the parameters of the build: %v", err)
	}
	return &s, def.check()
}

// check refuses names that could mean something on this machine, and parameters
// that do not go with what they were resolved to.
func (d *BuildDefinition) check() error {
	for role, want := range map[Role][]string{
		RoleSource: d.ExternalParameters.Sources, RoleChecksums: d.ExternalParameters.Checksums, RoleKeyring: d.ExternalParameters.Keyrings,
	} {
		deps := d.with(role)
		if len(deps) != len(want) {
			return refuse(ruleProvenance, "", "", "there are %d of role %q, and %d are named", len(deps), role, len(want))
		}
		for i, r := range deps {
			if r.Name != want[i] || !isAnonymous(r.Name) {
				return refuse(ruleProvenance, r.Name, "", "is no name of a %s", role)
			}
			if len(r.Digest) != 1 || r.plainDigest().Validate() != nil {
				return refuse(ruleProvenance, r.Name, "", "has no digest that can be compared")
			}
		}
	}
	return nil
}

// with gives the dependencies of a role in their order.
func (d *BuildDefinition) with(role Role) []Resource {
	var list []Resource
	for _, r := range d.ResolvedDependencies {
		if r.Notes != nil && r.Notes.Role == role {
			list = append(list, r)
		}
	}
	return list
}

// digest gives the only digest; empty if there is none.
func (r *Resource) digest() digest.Digest {
	for algorithm, hex := range r.Digest {
		return digest.Digest(algorithm + ":" + hex)
	}
	return ""
}

// plainDigest gives it with the name of the hash that a dirHash is made with.
func (r *Resource) plainDigest() digest.Digest {
	d := string(r.digest())
	if hex, ok := strings.CutPrefix(d, dirHash+":"); ok {
		d = digest.SHA256.String() + ":" + hex
	}
	return digest.Digest(d)
}

// anonymousName is what anonymous makes of paths.
var anonymousName = regexp.MustCompile(`^(file:)?([0-9]{1,6}/)?[^/\x00]+$`)

func isAnonymous(name string) bool {
	return source.IsURL(name) || source.IsImage(name) || anonymousName.MatchString(name)
}

// options makes the options of the build again, without what they are about.
func (q *Parameters) options() (Options, error) {
	o := Options{
		Format: q.Format, Sources: q.Sources, OSName: q.OSName, OSVersion: q.OSVersion,
		Entrypoint: q.Entrypoint, AltEntrypoint: q.AltEntrypoint, LegacyEntrypoint: q.LegacyEntrypoint,
		Include: q.Include, Exclude: q.Exclude, Rename: q.Rename, Flatten: q.Flatten,
		IndexTag: q.IndexTag, PerFileLayers: q.PerFileLayers, Compression: q.Compression, DiskType: q.DiskType,
		Labels: q.Labels, Annotations: q.Annotations, Checksums: q.Checksums, Keyrings: q.Keyrings,
		RequireVerified: q.RequireVerified, VersionFile: q.VersionFile,
	}
	_, noFormat := ParseFormat(string(q.Format))
	_, noCompression := archive.ParseCompression(string(q.Compression))
	platform, noPlatform := spec.ParsePlatform(q.Platform)
	if err := errors.Join(noFormat, noCompression, noPlatform); err != nil {
		return o, refuse(ruleProvenance, "", "", "the parameters of the build: %v", err)
	}
	o.Platform = platform
	if q.SourceDateEpoch != nil {
		at := time.Unix(*q.SourceDateEpoch, 0).UTC()
		o.ModTime = &at
	}
	return o, nil
}
