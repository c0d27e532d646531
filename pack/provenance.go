package pack

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// The types of the statement (in-toto/attestation, statement.md; SLSA 1.0,
// provenance.md). The build type says what Parameters and Notes mean; both change
// together.
const (
	statementType  = "https://in-toto.io/Statement/v1"
	provenanceType = "https://slsa.dev/provenance/v1"
	buildType      = "https://github.com/nbpack/nbpack/blob/main/docs/provenance.md#build-type-1"
	builderID      = "https://github.com/nbpack/nbpack"
)

// Statement is an in-toto statement that says how an image was built.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Provenance `json:"predicate"`
}

// Provenance is the predicate of a Statement, in the form of SLSA 1.0.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is all that the bytes of an image depend on, besides nbpack.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   Parameters `json:"externalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// RunDetails say who built. They name no machine and no time.
type RunDetails struct {
	Builder Builder `json:"builder"`
}

// Builder is the program.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// Resource is something that has a digest.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
	Notes  *Notes            `json:"annotations,omitempty"`
}

// Notes say what a dependency was for.
type Notes struct {
	Role Role `json:"role"`
	// Kind of a source: directory, file, archive, image or tree.
	Kind string `json:"kind,omitempty"`
	// Packages are the name and version that a source says it is.
	Packages []string `json:"packages,omitempty"`
	// Files are how many of a source are packed, and Verified how many of these the
	// publishers' checksums in VerifiedBy cover.
	Files      int      `json:"files,omitempty"`
	Verified   int      `json:"verified,omitempty"`
	VerifiedBy []string `json:"verifiedBy,omitempty"`
	// SignedBy is the fingerprint of the OpenPGP key that a list of checksums is
	// rooted in, NamedBy the signed document that names it.
	SignedBy string `json:"signedBy,omitempty"`
	NamedBy  string `json:"namedBy,omitempty"`
}

// Role is what a dependency was for.
type Role string

// The roles of dependencies.
const (
	RoleSource    Role = "source"
	RoleChecksums Role = "checksums"
	RoleKeyring   Role = "keyring"
	RoleRecipe    Role = "recipe"
)

// The kinds of sources.
const (
	kindDirectory = "directory"
	kindFile      = "file"
	kindArchive   = "archive"
	kindImage     = "image"
	kindTree      = "tree"
)

// dirHash is the algorithm of the digest of a directory: SHA-256 over the lines
// that sha256sum writes for its files, sorted by name (in-toto/attestation,
// digest_set.md; the same as golang.org/x/mod/sumdb/dirhash, in hex).
const dirHash = "dirHash"

// Parameters are the options of a build. Names of files are without what only the
// machine knows that built: base names, with a number in front where several
// directories were involved.
type Parameters struct {
	Format           Format              `json:"format"`
	Sources          []string            `json:"sources"`
	Platform         string              `json:"platform"`
	OSName           string              `json:"osName,omitempty"`
	OSVersion        string              `json:"osVersion,omitempty"`
	Entrypoint       string              `json:"entrypoint,omitempty"`
	AltEntrypoint    string              `json:"altEntrypoint,omitempty"`
	LegacyEntrypoint string              `json:"legacyEntrypoint,omitempty"`
	Include          []string            `json:"include,omitempty"`
	Exclude          []string            `json:"exclude,omitempty"`
	Rename           map[string]string   `json:"rename,omitempty"`
	Flatten          bool                `json:"flatten,omitempty"`
	IndexTag         string              `json:"indexTag,omitempty"`
	PerFileLayers    bool                `json:"perFileLayers,omitempty"`
	Compression      archive.Compression `json:"compression"`
	DiskType         string              `json:"diskType,omitempty"`
	Labels           map[string]string   `json:"labels,omitempty"`
	Annotations      map[string]string   `json:"annotations,omitempty"`
	SourceDateEpoch  *int64              `json:"sourceDateEpoch,omitempty"`
	Checksums        []string            `json:"checksums,omitempty"`
	Keyrings         []string            `json:"keyrings,omitempty"`
	RequireVerified  bool                `json:"requireVerified,omitempty"`
	VersionFile      *bool               `json:"versionFile,omitempty"`
	// Pinned are the sources whose SHA-256 the user gave.
	Pinned []string `json:"pinned,omitempty"`
}

// parameters gives the options as they are when the sources have been asked for
// what the user left open.
func (p *Plan) parameters() Parameters {
	o := &p.options
	sources := anonymous(o.Sources)
	q := Parameters{
		Format: o.Format, Sources: sources, Platform: o.Platform.String(), OSName: o.OSName, OSVersion: o.OSVersion,
		Entrypoint: o.Entrypoint, AltEntrypoint: o.AltEntrypoint, LegacyEntrypoint: o.LegacyEntrypoint,
		Include: o.Include, Exclude: o.Exclude, Rename: o.Rename, Flatten: o.Flatten,
		IndexTag: o.IndexTag, PerFileLayers: o.PerFileLayers, Compression: o.Compression, DiskType: o.DiskType,
		Labels: o.Labels, Annotations: o.Annotations,
		Checksums: anonymous(names(p.verify.docs)), Keyrings: anonymous(names(p.verify.keys)),
		RequireVerified: o.RequireVerified, VersionFile: o.VersionFile,
	}
	if o.ModTime != nil {
		at := o.ModTime.Unix()
		q.SourceDateEpoch = &at
	}
	for i, name := range o.Sources {
		if o.Pins[name] != "" {
			q.Pinned = append(q.Pinned, sources[i])
		}
	}
	return q
}

func names(files []inputFile) []string {
	var list []string
	for _, f := range files {
		list = append(list, f.name)
	}
	return list
}

// anonymous takes away what only this machine knows. Files of one directory stay
// together, because a signature is found by the name of what it signs; those of
// the second directory get 2/ in front, and so on.
func anonymous(list []string) []string {
	dirs := map[string]int{}
	var out []string
	for _, name := range list {
		disk, ok := source.LocalPath(name)
		if !ok {
			out = append(out, source.Public(name))
			continue
		}
		if abs, err := filepath.Abs(disk); err == nil {
			disk = abs // "." has a name, too
		}
		dir, base := filepath.Split(disk)
		if dirs[dir] == 0 {
			dirs[dir] = len(dirs) + 1
		}
		if n := dirs[dir]; n > 1 {
			base = strconv.Itoa(n) + "/" + base
		}
		if strings.HasPrefix(name, source.FilePrefix) {
			base = source.FilePrefix + base
		}
		out = append(out, base)
	}
	return out
}

// statement says how the manifest of a digest was built.
func (p *Plan) statement(subject digest.Digest, title, tool string) (*Statement, error) {
	deps, err := p.dependencies()
	if err != nil {
		return nil, err
	}
	return &Statement{
		Type:          statementType,
		Subject:       []Resource{{Name: title, Digest: digestSet(subject)}},
		PredicateType: provenanceType,
		Predicate: Provenance{
			BuildDefinition: BuildDefinition{BuildType: buildType, ExternalParameters: p.parameters(), ResolvedDependencies: deps},
			RunDetails:      RunDetails{Builder{ID: builderID, Version: map[string]string{"nbpack": tool}}},
		},
	}, nil
}

func digestSet(d digest.Digest) map[string]string {
	return map[string]string{d.Algorithm().String(): d.Encoded()}
}

// dependencies gives everything that was read, sources first, in the order of the
// parameters.
func (p *Plan) dependencies() ([]Resource, error) {
	var all []Resource
	sums := map[string]string{} // by name in the sources
	for i := range p.nodes {
		if n := &p.nodes[i]; n.Type == spec.TypeFile {
			sums[n.Name] = p.packed[n].sha256
		}
	}
	for i, name := range anonymous(p.options.Sources) {
		all = append(all, p.sourceResource(name, p.origins[i], sums))
	}
	for i, name := range anonymous(names(p.verify.docs)) {
		d := p.verify.docs[i]
		r := newResource(name, "sha256", d.sha256, &Notes{Role: RoleChecksums})
		for _, l := range p.verify.lists {
			if l.Name == d.name {
				r.Notes.SignedBy = l.Signer
				if l.Root != "" {
					r.Notes.NamedBy = source.Public(l.Root)
				}
			}
		}
		all = append(all, r)
	}
	for i, name := range anonymous(names(p.verify.keys)) {
		all = append(all, newResource(name, "sha256", p.verify.keys[i].sha256, &Notes{Role: RoleKeyring}))
	}
	if r := p.options.recipe; r != nil {
		all = append(all, newResource(source.Public(r.name), "sha256", r.sha256, &Notes{Role: RoleRecipe}))
	}
	return all, nil
}

func newResource(name, algorithm, hex string, notes *Notes) Resource {
	r := Resource{Name: name, Notes: notes}
	if source.IsURL(name) || source.IsImage(name) {
		r.URI = name
	}
	if hex != "" {
		r.Digest = map[string]string{algorithm: hex}
	}
	return r
}

// sourceResource describes a source. sums has the SHA-256 of each packed file.
func (p *Plan) sourceResource(name string, o source.Origin, sums map[string]string) Resource {
	notes := &Notes{Role: RoleSource, Kind: kindArchive, Packages: values(o.Facts, source.FactPackage)}
	var files []spec.Sum
	by := map[string]bool{}
	for _, e := range o.Entries {
		if e.Type != spec.TypeFile {
			continue
		}
		files = append(files, spec.Sum{Path: e.Name, SHA256: sums[e.Name]})
		who := p.verify.files[e.Name].by
		if len(who) > 0 {
			notes.Verified++
		}
		for _, w := range who {
			by[w] = true
		}
	}
	notes.Files = len(files)
	notes.VerifiedBy = slices.Sorted(maps.Keys(by))
	switch {
	case o.Manifest != "":
		notes.Kind = kindImage
		return newResource(name, o.Manifest.Algorithm().String(), o.Manifest.Encoded(), notes)
	case len(o.Entries) == 1 && o.Entries[0].Whole:
		notes.Kind = kindFile
		return newResource(name, "sha256", files[0].SHA256, notes)
	case o.Base != "":
		return newResource(name, "sha256", o.SHA256, notes)
	case strings.HasSuffix(name, "/"):
		notes.Kind = kindTree
	default:
		notes.Kind = kindDirectory
	}
	return newResource(name, dirHash, hashFiles(files), notes)
}

// hashFiles gives the dirHash of files, which are sorted here.
func hashFiles(files []spec.Sum) string {
	return digest.FromBytes(spec.FormatSums(files)).Encoded()
}
