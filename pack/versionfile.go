package pack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/upstream"
	"github.com/nbpack/nbpack/spec"
)

// wantsVersion tells whether the payload gets a file that says where it comes
// from. By itself it does where a publisher vouches for something: that is a
// fact about these files which nobody could find out later. Otherwise an image
// depends on its files alone, whatever they were packed in, and the file is
// written only for those who ask for it.
func (p *Plan) wantsVersion() bool {
	if w := p.options.VersionFile; w != nil {
		return *w
	}
	return slices.ContainsFunc(sortedKeys(p.verify.files), func(name string) bool { return len(p.verify.files[name].by) > 0 })
}

// addVersion puts that file into the tree. What it says is known before any file
// is read, because a build in which a file does not agree makes nothing.
func (p *Plan) addVersion(t tree) error {
	if !p.wantsVersion() {
		return nil
	}
	for name := range t {
		if spec.FoldKey(name) == spec.FoldKey(spec.VersionName) {
			return refuse(ruleSourceClash, name, "leave it out with --exclude, give it another name with --rename, or use --version-file=false",
				"is the name of the file that says where the others come from")
		}
	}
	node := source.Made(spec.VersionName, []byte(p.versionText(t)))
	t[spec.VersionName] = &Entry{Path: spec.VersionName, Type: spec.TypeFile, Size: node.Size, node: &node}
	return nil
}

// versionText writes paragraphs of fields, as Debian's control files have them:
// the sources, the lists of checksums, and the files by who vouches for them.
// Nothing in it depends on the machine or the time.
func (p *Plan) versionText(t tree) string {
	var b strings.Builder
	for _, o := range p.set.Origins() {
		field(&b, "Source", o.Public)
		field(&b, "SHA256", o.SHA256)
		for _, f := range []struct {
			name string
			key  source.FactKey
		}{{"Package", source.FactPackage}, {"OS", source.FactOSName}, {"Version", source.FactOSVersion}, {"Build", source.FactBuild}} {
			for _, value := range values(o.Facts, f.key) {
				field(&b, f.name, value)
			}
		}
		b.WriteByte('\n')
	}
	for _, l := range p.verify.lists {
		field(&b, "Checksums", listName(l))
		field(&b, "SHA256", l.SHA256)
		if l.Root != "" {
			field(&b, "Named-By", source.Public(l.Root))
			field(&b, "Named-By-SHA256", l.RootSHA256)
		}
		field(&b, "Signed-By", l.Signer)
		b.WriteByte('\n')
	}
	groups := map[string][]string{}
	for _, e := range t.sorted() {
		if e.Type == spec.TypeFile {
			by := strings.Join(p.vouchers(e), ", ")
			groups[by] = append(groups[by], e.Path)
		}
	}
	var paragraphs []string
	for _, by := range sortedKeys(groups) {
		name := by
		if by == "" {
			name = "nobody"
		}
		paragraphs = append(paragraphs, "Verified-By: "+name+"\nFiles:\n "+strings.Join(groups[by], "\n ")+"\n")
	}
	return b.String() + strings.Join(paragraphs, "\n")
}

func field(b *strings.Builder, name, value string) {
	if value != "" {
		fmt.Fprintf(b, "%s: %s\n", name, value)
	}
}

// values gives the values of a fact, each once.
func values(facts []source.Fact, key source.FactKey) []string {
	var list []string
	for _, f := range having(facts, key) {
		if !slices.Contains(list, f.Value) {
			list = append(list, f.Value)
		}
	}
	return list
}

// vouchers names who vouches for a file.
func (p *Plan) vouchers(e *Entry) []string {
	if e.node == nil {
		return nil
	}
	return p.verify.files[e.node.Name].by
}

// verifiedLabels gives the annotations that tell who vouches for files: the
// lists, each with its digest and the key that it is rooted in, and how many of
// the files they cover.
func (p *Plan) verifiedLabels(entries []*Entry) map[string]string {
	var by []string
	all, good := 0, 0
	note := func(s string) {
		if !slices.Contains(by, s) {
			by = append(by, s)
		}
	}
	for _, e := range entries {
		if e.Type != spec.TypeFile || e.Source == "" {
			continue
		}
		all++
		file := p.verify.files[e.node.Name]
		if len(file.by) > 0 {
			good++
		}
		for _, l := range file.lists {
			note(describe(l))
		}
		for _, name := range file.by[len(file.lists):] { // documents of install trees
			note(name)
		}
	}
	if good == 0 {
		return nil
	}
	slices.Sort(by)
	return map[string]string{
		spec.AnnotationVerifiedBy:    strings.Join(by, ", "),
		spec.AnnotationVerifiedFiles: fmt.Sprintf("%d/%d", good, all),
	}
}

func describe(l *upstream.List) string {
	s := listName(l) + "@sha256:" + l.SHA256
	if l.Signer != "" {
		s += " openpgp:" + l.Signer
	}
	return s
}
