package upstream

import (
	"bytes"
	"encoding/hex"
	"path"
	"regexp"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Kind is what a document is.
type Kind string

// The kinds of documents.
const (
	KindSums      Kind = "sums"      // as sha256sum or BSD's sha256 write it
	KindTreeInfo  Kind = "treeinfo"  // of productmd
	KindPackages  Kind = "packages"  // of a Debian archive
	KindRelease   Kind = "release"   // of a Debian archive: names other documents
	KindSignature Kind = "signature" // of another document
)

// MaxDocument bounds a document, in bytes. The largest are Packages files.
const MaxDocument = 128 << 20

// named is a checksum and the name that it is for.
type named struct {
	name   string
	sha256 string
	size   string // in decimal; only of Release files
}

// detect tells what a document is by its first line.
func detect(b []byte) Kind {
	if isSignature(b) {
		return KindSignature
	}
	if packed(b) {
		return KindPackages
	}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		switch {
		case line[0] == '[':
			return KindTreeInfo
		case bytes.HasPrefix(line, []byte("Package:")):
			return KindPackages
		case controlLine.Match(line):
			return KindRelease
		}
		break
	}
	return KindSums
}

// controlLine begins a field of a Debian control file.
var controlLine = regexp.MustCompile(`^[A-Z][A-Za-z0-9-]*:( |$)`)

// isSignature tells by the armor, or by the tag of the first packet, which is 2
// (RFC 9580, section 4.2).
func isSignature(b []byte) bool {
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte(signatureBlock)) {
		return true
	}
	return len(b) > 0 && (b[0] == 0xc2 || b[0]&^3 == 0x88)
}

// parse reads a list or a Release file.
func parse(kind Kind, doc string, b []byte) ([]named, error) {
	switch kind {
	case KindTreeInfo:
		return parseTreeInfo(doc, b)
	case KindPackages:
		return parsePackages(doc, b)
	case KindRelease:
		return parseRelease(doc, b)
	}
	return parseSums(doc, b)
}

// bsdLine is what BSD's sha256, and "sha256sum --tag", write.
var bsdLine = regexp.MustCompile(`^([A-Z0-9-]+) \((.+)\) = ([0-9a-fA-F]+)$`)

// parseSums reads checksums. Beside what sha256sum writes, publishers use the
// lines of BSD, with several algorithms, and comments.
func parseSums(doc string, b []byte) ([]named, error) {
	var plain bytes.Buffer
	for line := range bytes.Lines(b) {
		text := bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(text)) == 0 && len(b) > len(line) || bytes.HasPrefix(text, []byte("#")) {
			continue
		}
		m := bsdLine.FindSubmatch(text)
		switch {
		case m == nil:
			plain.Write(text)
			plain.WriteByte('\n')
		case string(m[1]) == "SHA256":
			plain.WriteString(string(m[3]) + "  " + string(m[2]) + "\n")
		}
	}
	sums, err := spec.ParseSums(plain.Bytes())
	if err != nil {
		return nil, refuse(RuleList, doc, "", "is no list of SHA-256 checksums: %w", err)
	}
	list := make([]named, len(sums))
	for i, s := range sums {
		list[i] = named{name: s.Path, sha256: s.SHA256}
	}
	return list, nil
}

// parseTreeInfo reads the section with checksums. Old trees have weaker ones,
// which say nothing here.
func parseTreeInfo(doc string, b []byte) ([]named, error) {
	var list []named
	seen := map[string]bool{}
	section := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		sum, strong := strings.CutPrefix(value, "sha256:")
		if !ok || section != "[checksums]" || name == "" || name[0] == ';' || name[0] == '#' || !strong {
			continue
		}
		sum = strings.ToLower(strings.TrimSpace(sum))
		if !isSHA256(sum) {
			return nil, refuse(RuleList, doc, "", "%q is no SHA-256 of %q", value, name)
		}
		if err := spec.CheckPath(name); err != nil {
			return nil, refuse(RuleList, doc, "", "in [checksums]: %w", err)
		}
		if seen[name] {
			return nil, refuse(RuleList, doc, "", "%q is twice in [checksums]", name)
		}
		seen[name] = true
		list = append(list, named{name: name, sha256: sum})
	}
	if len(list) == 0 {
		return nil, refuse(RuleList, doc, "", "has no SHA-256 checksums")
	}
	return list, nil
}

// parsePackages reads where packages lie, and their checksums.
func parsePackages(doc string, b []byte) ([]named, error) {
	b, err := unpack(b)
	if err != nil {
		return nil, refuse(RuleList, doc, "fetch it again", "cannot be unpacked: %v", err)
	}
	var list []named
	var one named
	end := func() error {
		if one == (named{}) {
			return nil
		}
		if !isSHA256(one.sha256) || spec.CheckPath(one.name) != nil {
			return refuse(RuleList, doc, "", "the package %q lacks its name or its SHA-256", one.name)
		}
		list = append(list, one)
		one = named{}
		return nil
	}
	for line := range bytes.Lines(b) {
		text := string(bytes.TrimRight(line, "\r\n"))
		if text == "" {
			if err := end(); err != nil {
				return nil, err
			}
		}
		if v, ok := strings.CutPrefix(text, "Filename: "); ok {
			one.name = strings.TrimPrefix(v, "./")
		} else if v, ok := strings.CutPrefix(text, "SHA256: "); ok {
			one.sha256 = strings.ToLower(v)
		}
	}
	return list, end()
}

// parseRelease reads the field SHA256 of a Release file, which has a line for
// each document of the archive: checksum, size, name.
func parseRelease(doc string, b []byte) ([]named, error) {
	var list []named
	inside := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasPrefix(line, " ") {
			inside = line == "SHA256:"
			continue
		}
		if !inside {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || !isSHA256(f[0]) {
			return nil, refuse(RuleList, doc, "", "its field SHA256 has a line that is none: %q", line)
		}
		list = append(list, named{name: f[2], sha256: f[0], size: f[1]})
	}
	if len(list) == 0 {
		return nil, refuse(RuleList, doc, "", "has no field SHA256, which would name documents")
	}
	return list, nil
}

// field gives a field of the first paragraph of a control file, of one line.
func field(b []byte, name string) string {
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// SignedName gives the name of the document that a detached signature is for, by
// the custom of naming it like that with an ending; false for other documents.
func SignedName(name string, b []byte) (string, bool) {
	if !isSignature(b) {
		return "", false
	}
	switch ext := path.Ext(name); ext {
	case ".gpg", ".asc", ".sig", ".sign":
		return strings.TrimSuffix(name, ext), true
	}
	return "", true
}
