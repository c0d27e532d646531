package pack

import (
	"crypto/sha1"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// SBOM is a list of boot files, and of the packages that they came from, in the
// form of SPDX 2.3, of which it has what there is to say.
type SBOM struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      SBOMCreation       `json:"creationInfo"`
	Packages      []SBOMPackage      `json:"packages"`
	Files         []SBOMFile         `json:"files"`
	Relationships []SBOMRelationship `json:"relationships"`
}

// SBOMCreation says who made the list. The form demands a time, which is
// SOURCE_DATE_EPOCH or the beginning of 1970.
type SBOMCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

// SBOMPackage is the image, or a source that files were taken from.
type SBOMPackage struct {
	ID               string            `json:"SPDXID"`
	Name             string            `json:"name"`
	VersionInfo      string            `json:"versionInfo,omitempty"`
	PackageFileName  string            `json:"packageFileName,omitempty"`
	DownloadLocation string            `json:"downloadLocation"`
	FilesAnalyzed    bool              `json:"filesAnalyzed"`
	VerificationCode *SBOMVerification `json:"packageVerificationCode,omitempty"`
	Purpose          string            `json:"primaryPackagePurpose,omitempty"`
	Checksums        []SBOMChecksum    `json:"checksums,omitempty"`
	ExternalRefs     []SBOMExternalRef `json:"externalRefs,omitempty"`
	Copyright        string            `json:"copyrightText"`
	LicenseConcluded string            `json:"licenseConcluded"`
	LicenseDeclared  string            `json:"licenseDeclared"`
	Comment          string            `json:"comment,omitempty"`
}

// SBOMVerification is one digest over all files.
type SBOMVerification struct {
	Value string `json:"packageVerificationCodeValue"`
}

// SBOMChecksum is a digest in hex.
type SBOMChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

// SBOMExternalRef is the name of a package in the words of package managers.
type SBOMExternalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

// SBOMFile is a regular file of the payload.
type SBOMFile struct {
	ID               string         `json:"SPDXID"`
	Name             string         `json:"fileName"`
	Checksums        []SBOMChecksum `json:"checksums"`
	Copyright        string         `json:"copyrightText"`
	LicenseConcluded string         `json:"licenseConcluded"`
	Comment          string         `json:"comment,omitempty"`
}

// SBOMRelationship ties two of these together.
type SBOMRelationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	sbomVersion   = "SPDX-2.3"
	sbomDocument  = "SPDXRef-DOCUMENT"
	sbomImage     = "SPDXRef-Image"
	sbomNothing   = "NOASSERTION"
	sbomNamespace = "https://github.com/nbpack/nbpack/spdx/"
)

// sbom lists the files of one manifest. It says nothing about licences, which
// nobody has looked at.
func (p *Plan) sbom(m planned, subject digest.Digest, tool string) (*SBOM, error) {
	created := time.Unix(0, 0)
	if p.Created != nil {
		created = *p.Created
	}
	b := &sbomBuilder{plan: p, sources: map[string]int{}, doc: &SBOM{
		Version: sbomVersion, DataLicense: "CC0-1.0", ID: sbomDocument, Name: p.sbomName(m),
		Creation: SBOMCreation{created.UTC().Format(time.RFC3339), []string{"Tool: nbpack-" + tool}},
	}}
	b.image(subject)
	b.packages()
	b.files(m)
	// The namespace has to be the document's own. The document itself makes it so.
	body, err := encode(b.doc)
	if err != nil {
		return nil, err
	}
	b.doc.Namespace = sbomNamespace + digest.FromBytes(body).Encoded()
	return b.doc, nil
}

// sbomName names what is listed for people.
func (p *Plan) sbomName(m planned) string {
	parts := []string{p.OSName, p.OSVersion, p.options.Platform.Arch(), m.title}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "-")
}

// sbomBuilder makes one list.
type sbomBuilder struct {
	plan    *Plan
	doc     *SBOM
	sources map[string]int // packages of the list by the name of the source
}

func (b *sbomBuilder) relate(element, kind, related string) {
	b.doc.Relationships = append(b.doc.Relationships, SBOMRelationship{element, kind, related})
}

func newSBOMPackage(id, name string) SBOMPackage {
	return SBOMPackage{
		ID: id, Name: name, DownloadLocation: sbomNothing,
		Copyright: sbomNothing, LicenseConcluded: sbomNothing, LicenseDeclared: sbomNothing,
	}
}

// image adds what is described.
func (b *sbomBuilder) image(subject digest.Digest) {
	p := newSBOMPackage(sbomImage, b.doc.Name)
	p.VersionInfo, p.Purpose, p.FilesAnalyzed = subject.String(), "CONTAINER", true
	p.Checksums = []SBOMChecksum{sbomChecksum(subject)}
	b.doc.Packages = append(b.doc.Packages, p)
	b.relate(sbomDocument, "DESCRIBES", sbomImage)
}

// packages adds the sources that hold others, except directories, which are
// nothing that anybody published.
func (b *sbomBuilder) packages() {
	for i, o := range b.plan.origins {
		if b.sources[o.Name] != 0 || o.Base == "" && o.Manifest == "" && !source.IsTree(o.Name) || len(o.Entries) == 1 && o.Entries[0].Whole {
			continue
		}
		p := newSBOMPackage("SPDXRef-Source-"+strconv.Itoa(i+1), o.Public)
		p.PackageFileName = o.Base
		if source.IsURL(o.Public) {
			p.Name, p.DownloadLocation = path.Base(o.Public), o.Public
		}
		if o.Manifest != "" {
			p.Checksums = []SBOMChecksum{sbomChecksum(o.Manifest)}
		} else if o.SHA256 != "" {
			p.Checksums = []SBOMChecksum{{"SHA256", o.SHA256}}
		}
		if said := values(o.Facts, source.FactPackage); len(said) == 1 && o.Manifest == "" {
			p.Name, p.VersionInfo, _ = strings.Cut(said[0], " ")
			if locator := packageURL(o.Base, b.plan.OSName, p.Name, p.VersionInfo); locator != "" {
				p.ExternalRefs = []SBOMExternalRef{{"PACKAGE-MANAGER", "purl", locator}}
			}
		}
		b.doc.Packages = append(b.doc.Packages, p)
		b.sources[o.Name] = len(b.doc.Packages)
	}
}

// sbomChecksum writes a digest of a manifest.
func sbomChecksum(d digest.Digest) SBOMChecksum {
	return SBOMChecksum{strings.ToUpper(d.Algorithm().String()), d.Encoded()}
}

// files adds the regular files of the payload, by path.
func (b *sbomBuilder) files(m planned) {
	var entries []*Entry
	for _, l := range m.layers {
		for i := range l.Entries {
			if e := &l.Entries[i]; e.Type == spec.TypeFile {
				entries = append(entries, e)
			}
		}
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return strings.Compare(a.Path, b.Path) })
	var old []string
	for i, e := range entries {
		sums := b.plan.packed[e.node]
		old = append(old, sums.sha1)
		f := SBOMFile{
			ID: "SPDXRef-File-" + strconv.Itoa(i+1), Name: "./" + e.Path,
			Checksums: []SBOMChecksum{{"SHA1", sums.sha1}, {"SHA256", sums.sha256}},
			Copyright: sbomNothing, LicenseConcluded: sbomNothing,
		}
		if by := b.plan.vouchers(e); len(by) > 0 {
			f.Comment = "SHA-256 agrees with " + strings.Join(by, ", ")
		}
		b.doc.Files = append(b.doc.Files, f)
		b.relate(sbomImage, "CONTAINS", f.ID)
		if n := b.sources[e.node.Source]; n > 0 {
			b.relate(f.ID, "GENERATED_FROM", b.doc.Packages[n-1].ID)
		}
	}
	b.doc.Packages[0].VerificationCode = &SBOMVerification{verificationCode(old)}
}

// verificationCode is SHA-1 over the sorted SHA-1 of all files (SPDX 2.3, 7.9).
func verificationCode(sums []string) string {
	slices.Sort(sums)
	sum := sha1.Sum([]byte(strings.Join(sums, "")))
	return hex.EncodeToString(sum[:])
}

// packageURL names a package as package-url does: pkg:deb/debian/NAME@VERSION.
// Empty where the name of the file does not tell the kind of package, or nobody
// says whose it is.
func packageURL(file, vendor, name, version string) string {
	kind := strings.TrimPrefix(path.Ext(file), ".")
	if kind != "deb" && kind != "rpm" || vendor == "" || version == "" {
		return ""
	}
	return "pkg:" + kind + "/" + purlEscape(strings.ToLower(vendor)) + "/" + purlEscape(strings.ToLower(name)) + "@" + purlEscape(version)
}

// purlEscape writes everything in percent signs that is not plain.
func purlEscape(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_~:"
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}
