package transport

import (
	"fmt"
	"strings"

	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// mirrorSet is what a client was told of mirrors.
type mirrorSet struct {
	all  []blobmirror.Mirror            // of every registry
	some map[string][]blobmirror.Mirror // by the beginning of the repository's name, as Options.Mirrors
}

// parseMirrors reads the URLs among the options.
func (o Options) parseMirrors() (mirrorSet, error) {
	set := mirrorSet{some: map[string][]blobmirror.Mirror{}}
	for _, s := range o.BlobMirrors {
		m, err := blobmirror.Parse(s)
		if err != nil {
			return set, err
		}
		set.all = append(set.all, m)
	}
	for prefix, mirrors := range o.Mirrors {
		for _, s := range mirrors {
			if !strings.Contains(s, "://") {
				continue // as a registry
			}
			m, err := blobmirror.Parse(s)
			if err != nil {
				return set, fmt.Errorf("mirrors of %q: %w", prefix, err)
			}
			set.some[prefix] = append(set.some[prefix], m)
		}
	}
	return set, nil
}

// of lists the mirrors that have the blobs of a repository, each once.
func (m mirrorSet) of(name, prefix string) []blobmirror.Mirror {
	var out []blobmirror.Mirror
	seen := map[blobmirror.Mirror]bool{}
	for _, list := range [][]blobmirror.Mirror{m.all, m.some[prefix]} {
		for _, one := range list {
			if !seen[one] {
				seen[one] = true
				out = append(out, one)
			}
		}
	}
	return out
}

// hosts lists those of all mirrors.
func (m mirrorSet) hosts() []string {
	var out []string
	for _, one := range m.all {
		out = append(out, one.Host())
	}
	for _, list := range m.some {
		for _, one := range list {
			out = append(out, one.Host())
		}
	}
	return out
}
