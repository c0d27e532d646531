package relocate

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.podman.io/image/v5/docker/reference"

	"github.com/opencontainers/go-digest"
)

// Rewriter puts the new references of a [Map] into texts: catalogues, kickstarts,
// manifests. Only whole references are replaced, never parts of longer words, and
// nothing else is changed. Images that were not relocated keep their old ones.
type Rewriter struct {
	repos map[string]string // new repository names by old, complete ones
	known map[string][]known
}

// known is one relocated image of a repository.
type known struct {
	tag    string // "" if it is known by its digest alone
	digest digest.Digest
}

// NewRewriter makes a Rewriter of the images of a map that did not fail. In the map
// of a dry run, digests are known only where the originals have them.
func NewRewriter(m *Map) *Rewriter {
	r := &Rewriter{repos: map[string]string{}, known: map[string][]known{}}
	for _, e := range m.Images {
		if e.Error != "" {
			continue
		}
		name := e.image.named.Name()
		k := known{tag: e.image.tag(), digest: digestOf(e.image.named)}
		if e.Digest != nil {
			k.digest = *e.Digest
		}
		r.repos[name] = strings.TrimSuffix(e.Relocated, suffix(e.image.named))
		r.known[name] = append(r.known[name], k)
	}
	return r
}

// Change is one reference that was replaced.
type Change struct {
	Line int    `json:"line"` // from 1
	From string `json:"from"`
	To   string `json:"to"`
}

// Rewrite gives the text with its references replaced, and what was changed.
func (r *Rewriter) Rewrite(text []byte) ([]byte, []Change) {
	var out bytes.Buffer
	var changes []Change
	line, done := 1, 0
	for at := 0; at < len(text); {
		end := word(text, at)
		if end == at {
			if text[at] == '\n' {
				line++
			}
			_, n := utf8.DecodeRune(text[at:])
			at += n
			continue
		}
		if s, to, ok := r.replace(text, at, end); ok {
			out.Write(text[done : at+s.from])
			out.WriteString(to)
			done = at + s.to
			changes = append(changes, Change{line, string(text[at+s.from : done]), to})
		}
		at = end
	}
	out.Write(text[done:])
	return out.Bytes(), changes
}

// word gives the end of the word that begins at a place: of what references are
// made of, and letters, so that it cannot end in the middle of something else.
func word(text []byte, at int) int {
	for at < len(text) {
		c, n := utf8.DecodeRune(text[at:])
		if !strings.ContainsRune("._-/:@", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return at
		}
		at += n
	}
	return at
}

// What beside a word makes it a part of something longer: variables, patterns,
// escapes of URLs.
const (
	glueBefore = "$%~+&}*?"
	glueAfter  = "$%~+*?{["
)

// replace tells which part of the word text[at:end] is a reference that has a new
// one.
func (r *Rewriter) replace(text []byte, at, end int) (is span, to string, ok bool) {
	if at > 0 && strings.IndexByte(glueBefore, text[at-1]) >= 0 || end < len(text) && strings.IndexByte(glueAfter, text[end]) >= 0 {
		return span{}, "", false
	}
	whole, before := string(text[at:end]), lineBefore(text, at)
	for _, is := range candidates(whole) {
		s := whole[is.from:is.to]
		told := is.from > 0 || imageKey.MatchString(before)
		if !told && !strings.ContainsAny(s, "/:@") {
			continue // a short name looks like any word
		}
		if to, ok := r.lookup(s, repositoryKey.MatchString(before)); ok {
			return is, to, true
		}
	}
	return span{}, "", false
}

// span is a part of a word.
type span struct{ from, to int }

// imageKey and repositoryKey match what stands in a line before an image without a
// host, and before a repository whose tags stand elsewhere.
var (
	imageKey      = regexp.MustCompile(`(?i)(^\s*FROM(\s+--platform=\S+)?\s+|\b(image|ref|reference)["']?\s*[:=]\s*["']?)$`)
	repositoryKey = regexp.MustCompile(`(?i)\brepository["']?\s*[:=]\s*["']?$`)
)

// lineBefore is the text between the beginning of a line, or a little later, and a
// place in it.
func lineBefore(text []byte, at int) string {
	near := text[max(at-200, 0):at] // a file can be one line
	return string(near[bytes.LastIndexByte(near, '\n')+1:])
}

// candidates are the references that a word may hold: itself, or what follows the
// name of a transport, as podman, Ironic and rpm-ostree write it. What no reference
// can end in belongs to the sentence.
func candidates(word string) []span {
	list := []span{{0, len(word)}}
	for _, transport := range []string{"docker://", "oci://", "registry:"} {
		i := strings.LastIndex(word, transport)
		if i == 0 || i > 0 && strings.IndexByte(":-", word[i-1]) >= 0 {
			list = append(list, span{i + len(transport), len(word)})
		}
	}
	for _, s := range list {
		if _, err := parseNamed(word[s.from:s.to]); err != nil {
			list = append(list, span{s.from, s.from + len(strings.TrimRight(word[s.from:s.to], "._-/:@"))})
		}
	}
	return list
}

// lookup gives the new reference of a text that is one. Where only a repository is
// meant its name is enough.
func (r *Rewriter) lookup(s string, repository bool) (string, bool) {
	named, err := parseNamed(s)
	if err != nil {
		return "", false
	}
	name, mapped := r.repos[named.Name()]
	if !mapped {
		return "", false
	}
	if repository && reference.IsNameOnly(named) {
		return name, true
	}
	i := Image{named: named}
	return name + suffix(named), slices.ContainsFunc(r.known[named.Name()], func(k known) bool { return k.is(i) })
}

// is tells whether a reference names the image: by its tag, by its digest, or by
// both if it has both.
func (k known) is(i Image) bool {
	tag, d := i.tag(), digestOf(i.named)
	return (tag == "" || tag == k.tag) && (d == "" || d == k.digest)
}
