package pack

import (
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// checkLinks refuses links that would not work in a boot tree. Links that do are
// kept as links.
func (t tree) checkLinks() error {
	for _, e := range t.sorted() {
		if e.Type != spec.TypeSymlink {
			continue
		}
		if err := spec.CheckLink(e.Path, e.Target); err != nil {
			return refuse(ruleSourceLink, e.Path,
				"make it a relative link to a file of the payload, or leave it out with --exclude",
				"link to %q leads outside the payload", e.Target)
		}
		if _, ok := t.resolve(e.Path); !ok {
			return refuse(ruleSourceLink, e.Path, "pack the file too, or leave the link out with --exclude",
				"link to %q, which is not in the payload", e.Target)
		}
	}
	return nil
}

// resolve follows links from p and gives the path that it ends at, "." for the
// top. False if something on the way is missing or outside the payload, or if
// there is no end to it.
func (t tree) resolve(p string) (string, bool) {
	hops := 0
	done, rest := ".", strings.Split(p, "/")
	for len(rest) > 0 {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if done == "." {
				return "", false
			}
			done = path.Dir(done)
			continue
		}
		done = path.Join(done, element)
		e, ok := t[done]
		switch {
		case !ok:
			return "", false
		case e.Type == spec.TypeSymlink:
			if hops++; hops > spec.MaxLinkHops {
				return "", false
			}
			rest = append(strings.Split(e.Target, "/"), rest...)
			done = path.Dir(done)
		case e.Type == spec.TypeFile && len(rest) > 0:
			return "", false
		}
	}
	return done, true
}
