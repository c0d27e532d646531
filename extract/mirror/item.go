package mirror

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
)

// Reference names an image, or all images of a repository whose tags a pattern
// takes.
type Reference struct {
	transport.Reference
	// Pattern is for path.Match; empty for the one image.
	Pattern string
}

// ParseReference reads a reference as transport.ParseReference does. In the tag
// of one in a registry *, ? and [...] may stand. Errors are usage errors.
func ParseReference(s string) (Reference, error) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 || strings.Contains(s[at:], "/") || !strings.ContainsAny(s[at:], "*?[") {
		ref, err := transport.ParseReference(s)
		return Reference{Reference: ref}, err
	}
	ref, err := transport.ParseReference(s[:at])
	if err != nil {
		return Reference{}, err
	}
	r := Reference{Reference: ref, Pattern: s[at+1:]}
	r.Tag = ""
	if _, err := path.Match(r.Pattern, ""); err != nil || ref.Transport != transport.Docker || ref.Digest != "" {
		return Reference{}, &usageError{
			msg:  fmt.Sprintf("reference %q: %q is no pattern for the tags of a repository", s, r.Pattern),
			hint: `write HOST/REPOSITORY:PATTERN, with *, ? and [...] in the pattern`,
		}
	}
	return r, nil
}

// String gives the reference as ParseReference reads it.
func (r Reference) String() string {
	if r.Pattern != "" {
		return r.Transport + "://" + r.Name + ":" + r.Pattern
	}
	return r.Reference.String()
}

// item is one image and its place in the tree.
type item struct {
	ref  transport.Reference
	name string // of the repository in the tree
	tag  string // "" where the digest alone names it
}

// String names the place, as a client of the mirror would.
func (it item) String() string {
	if it.tag == "" {
		return it.name + "@" + it.ref.Digest.String()
	}
	return it.name + ":" + it.tag
}

// place finds the place of an image: the repository that it has in its registry,
// or that a bundle says, or the one that the caller wants.
func place(ref transport.Reference, repository string) (item, error) {
	it := item{ref: ref, name: repository, tag: ref.Tag}
	said := ref // what the reference says of repository and tag
	if ref.Transport == transport.OCI || ref.Transport == transport.OCIArchive {
		if full, err := transport.ParseReference(ref.Tag); err == nil && full.Transport == transport.Docker {
			said, it.tag = full, full.Tag
		}
	}
	if it.name == "" && said.Transport == transport.Docker {
		_, it.name, _ = strings.Cut(said.Name, "/")
	}
	switch {
	case it.name == "":
		return it, &usageError{
			msg:  fmt.Sprintf("reference %q names no repository", ref),
			hint: "say in which repository of the mirror it belongs with --repository",
		}
	case it.tag == "" && ref.Digest == "" || it.tag != "" && !mirrortree.IsTag(it.tag):
		return it, &usageError{
			msg:  fmt.Sprintf("reference %q names no tag that the image could have in the mirror", ref),
			hint: "write oci:DIR:TAG, or @DIGEST",
		}
	}
	if err := mirrortree.CheckName(it.name); err != nil {
		return it, &usageError{msg: fmt.Sprintf("reference %q: %v", ref, err), hint: "give the repository another name with --repository"}
	}
	return it, nil
}

// places gives the items of all references, each once. Two images that want one
// place are refused, and so are two repositories under one name, unless the
// caller wants that.
func places(refs []transport.Reference, repository string) ([]item, error) {
	var items []item
	taken := map[string]transport.Reference{}
	from := map[string]string{}
	for _, ref := range refs {
		it, err := place(ref, repository)
		if err != nil {
			return nil, err
		}
		other, twice := taken[it.String()]
		if twice && other == ref {
			continue
		}
		if twice {
			return nil, &usageError{
				msg:  fmt.Sprintf("%q and %q would both be %q in the mirror", other, ref, it),
				hint: "fill two mirrors, or give one of them another repository with --repository",
			}
		}
		if was, ok := from[it.name]; ok && was != ref.Name && repository == "" && ref.Transport == transport.Docker {
			return nil, &usageError{
				msg:  fmt.Sprintf("%q and %q would be one repository in the mirror, %q", was, ref.Name, it.name),
				hint: "fill two mirrors, or join them with --repository",
			}
		}
		if ref.Transport == transport.Docker {
			from[it.name] = ref.Name
		}
		taken[it.String()] = ref
		items = append(items, it)
	}
	return items, nil
}

// expand asks registries what patterns stand for. What cannot be listed, and a
// pattern that takes nothing, is given to failed, and the others go on.
func expand(ctx context.Context, lists *tagLists, refs []Reference, failed func(string, error)) ([]transport.Reference, error) {
	var all []transport.Reference
	for _, r := range refs {
		if r.Pattern == "" {
			all = append(all, r.Reference)
			continue
		}
		tags, err := lists.of(ctx, r.Reference)
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		var found []transport.Reference
		if err == nil {
			found, err = r.among(tags)
		}
		if err != nil {
			failed(r.String(), err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// among gives the images whose tags a pattern takes. What is attached to others
// follows these, and no pattern. There has to be one: a word
// that is spelt wrong would go unnoticed from cron.
func (r Reference) among(tags []string) ([]transport.Reference, error) {
	var found []transport.Reference
	for _, tag := range tags {
		if ok, _ := path.Match(r.Pattern, tag); ok && !transport.IsAttachment(tag) && mirrortree.IsTag(tag) {
			one := r.Reference
			one.Tag = tag
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		return nil, &transport.NotFoundError{Ref: r.Reference.String(), What: "any tag that the pattern takes", Have: tags}
	}
	return found, nil
}
