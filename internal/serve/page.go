package serve

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxListed bounds a page.
const maxListed = 10000

// page is what the template shows.
type page struct {
	Path    string
	Up      bool
	Trees   []pageTree
	Entries []pageEntry
}

type pageTree struct {
	Path, Href, Digest, Platform, Reference, Age string
	Pinned                                       string // another generation that this client gets
}

type pageEntry struct {
	Name, Href string
	Size       int64
	Dir        bool
}

// pageText has no script, no style and no picture: it is read with curl as well.
const pageText = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Path}}</title></head><body>
<h1>{{.Path}}</h1>
{{if .Trees}}<table border="1" cellpadding="4">
<tr><th>tree</th><th>generation</th><th>installed</th><th>platform</th><th>from</th></tr>
{{range .Trees}}<tr><td><a href="{{.Href}}">{{.Path}}</a></td><td><code>{{.Digest}}</code>{{if .Pinned}}<br>you get <code>{{.Pinned}}</code>{{end}}</td><td>{{.Age}}</td><td>{{.Platform}}</td><td>{{.Reference}}</td></tr>
{{end}}</table>
{{end}}<ul>
{{if .Up}}<li><a href="../">../</a></li>
{{end}}{{range .Entries}}<li><a href="{{.Href}}">{{.Name}}</a>{{if not .Dir}} {{.Size}}{{end}}</li>
{{end}}</ul>
</body></html>
`

// directory shows what is in a directory, and above all directories the trees.
func (w *web) directory(rw http.ResponseWriter, r *http.Request, client netip.Addr, f *file) {
	if !strings.HasSuffix(r.URL.Path, "/") {
		// Relative, because it is not known under which name we are called.
		rw.Header().Set("Location", "./"+href(path.Base(f.path))+"/")
		rw.WriteHeader(http.StatusMovedPermanently)
		return
	}
	p := page{Path: "/" + f.path, Up: f.path != ""}
	trees, err := w.store.view.current()
	if err == nil && f.path == "" {
		p.Trees = w.trees(trees, client)
	}
	if p.Entries, err = w.entries(client, f, trees); err != nil {
		w.fail(rw, r, client, err)
		return
	}
	t, err := template.New("page").Parse(pageText)
	var b bytes.Buffer
	if err == nil {
		err = t.Execute(&b, p)
	}
	if err != nil {
		w.fail(rw, r, client, err)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Security-Policy", "default-src 'none'")
	w.log("http %s: %s %q: a page", client, r.Method, r.URL.Path)
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
}

func (w *web) trees(trees []tree, client netip.Addr) []pageTree {
	var list []pageTree
	for _, t := range trees {
		p := pageTree{
			Path: t.live, Href: href(t.live) + "/", Digest: t.digest, Platform: t.platform, Reference: t.reference,
			Age: t.installed.UTC().Format("2006-01-02 15:04:05 MST") + ", " + age(w.now().Sub(t.installed)) + " ago",
		}
		if pinned := w.store.pins.peek(pinKey{client, t.live}); pinned != t.digest {
			p.Pinned = pinned
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b pageTree) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// age says roughly how long something is.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", max(0, int(d.Seconds())))
}

// entries lists what the client would get below a directory: of a tree its
// generation and the files of the site.
func (w *web) entries(client netip.Addr, f *file, trees []tree) ([]pageEntry, error) {
	names, err := w.store.root.names(f.real)
	if err != nil {
		return nil, err
	}
	walk := &walk{store: w.store, client: client, trees: trees, chosen: map[string]string{}}
	if site, err := w.store.root.names(f.path); f.path != "" && f.path != f.real && err == nil {
		names = append(names, site...)
	}
	for i := range trees {
		if trees[i].live == "." && f.path == "" {
			if digest, err := walk.generation(&trees[i]); err == nil && digest != "" {
				more, _ := w.store.root.names(path.Join(generations, hexOf(digest)))
				names = append(names, more...)
			}
		}
	}
	slices.Sort(names)
	var list []pageEntry
	for _, name := range slices.Compact(names) {
		if !visible(name) || len(list) == maxListed {
			continue
		}
		e, err := walk.to(path.Join(f.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		entry := pageEntry{Name: name, Href: href(name), Size: e.size}
		if e.kind == unix.S_IFDIR {
			entry.Name, entry.Href, entry.Dir = name+"/", href(name)+"/", true
		}
		list = append(list, entry)
	}
	return list, nil
}

// href writes a relative path as a reference, in which a colon in front could
// be taken for a scheme.
func href(p string) string { return (&url.URL{Path: p}).String() }
