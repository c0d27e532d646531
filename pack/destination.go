package pack

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
)

// CheckDestination refuses to write below a source, where the next build would
// pack what was written, and destinations that cannot hold what is planned.
func (p *Plan) CheckDestination(dst transport.Reference) error {
	if err := p.checkIndex(dst); err != nil {
		return err
	}
	if !dst.IsLocal() {
		return nil
	}
	out, err := realPath(dst.Name)
	if err != nil {
		return fmt.Errorf("looking at destination %q: %w", dst, err)
	}
	for _, name := range p.options.Sources {
		disk, ok := source.LocalPath(p.options.at(name))
		if !ok {
			continue
		}
		in, err := realPath(disk)
		if err != nil {
			return fmt.Errorf("looking at source %q: %w", name, err)
		}
		if out == in || strings.HasPrefix(out, strings.TrimSuffix(in, "/")+"/") {
			return badOption("write the image to another place", "destination %q lies in source %q", dst, name)
		}
	}
	return nil
}

// realPath gives an absolute path without links, also if its end does not exist.
func realPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(abs) != abs {
		dir, err := realPath(filepath.Dir(abs))
		return filepath.Join(dir, filepath.Base(abs)), err
	}
	return real, err
}
