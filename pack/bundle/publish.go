package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport"
)

// publish makes dst what was decided.
func (b *builder) publish(ctx context.Context) error {
	fresh, err := b.fresh()
	if err != nil {
		return err
	}
	if b.dst.Transport == transport.OCIArchive {
		err = b.publishArchive(ctx, fresh)
	} else {
		err = b.publishLayout(ctx, fresh)
	}
	if err != nil {
		return err
	}
	return b.work.remove()
}

// needed gives all blobs of the new bundle with their sizes.
func (b *builder) needed() map[digest.Digest]int64 {
	all := maps.Clone(b.need.blob)
	maps.Copy(all, b.need.manifest)
	maps.DeleteFunc(all, func(d digest.Digest, _ int64) bool { return b.left[d] })
	return all
}

// fresh gives the files of the blobs that come from the work directory. What is in
// no place is an error: a delta is added to the wrong bundle, or the bundle is
// damaged.
func (b *builder) fresh() (map[digest.Digest]string, error) {
	files := map[digest.Digest]string{}
	var missing []string
	for d, size := range b.needed() {
		switch {
		case b.work.has(d):
			files[d] = b.work.path(d)
		case b.target == nil || !b.target.Has(ocispec.Descriptor{Digest: d, Size: size}):
			missing = append(missing, d.String())
		}
	}
	if len(missing) == 0 {
		return files, nil
	}
	slices.Sort(missing)
	return nil, &problem{
		msg:  fmt.Sprintf("%s neither there nor in any source: %s", are(len(missing), "blob"), someOf(missing)),
		hint: "a delta goes to the bundle that it was made for; nbpack bundle verify tells what a bundle lacks", code: 4,
	}
}

func are(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return plural(n, what) + " are"
}

// someOf keeps a message short.
func someOf(list []string) string {
	const most = 3
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// publishLayout moves the new blobs into the layout, replaces index.json in one
// step, and removes what nothing needs any more.
func (b *builder) publishLayout(ctx context.Context, fresh map[digest.Digest]string) error {
	if err := ocilayout.Merge(ctx, b.dst.Name, b.work.dir, fresh, func([]byte) ([]byte, error) { return b.index, nil }); err != nil {
		return err
	}
	now, err := transport.OpenBundle(b.dst)
	if err != nil {
		return err
	}
	defer now.Close()
	files, err := now.Files()
	if err != nil {
		return err
	}
	needed := b.needed()
	dirs := map[string]bool{}
	for _, f := range files {
		d, ok := ocilayout.ParseBlobName(f.Name)
		if _, keep := needed[d]; !ok || keep {
			continue
		}
		name := filepath.Join(b.dst.Name, filepath.FromSlash(f.Name))
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove a blob that nothing needs: %w", err)
		}
		dirs[filepath.Dir(name)] = true
	}
	for dir := range dirs {
		_ = os.Remove(dir) // not while something is in it
	}
	return nil
}

// publishArchive writes the archive anew, if anything changed.
func (b *builder) publishArchive(ctx context.Context, fresh map[digest.Digest]string) error {
	needed := b.needed()
	names := archiveNames(needed)
	if len(fresh) == 0 && b.target != nil {
		if same, err := b.unchanged(names); same || err != nil {
			return err
		}
	}
	open := func(name string) (io.ReadCloser, int64, error) {
		switch name {
		case ocispec.ImageLayoutFile:
			return literal(string(ocilayout.LayoutFile()))
		case ocispec.ImageIndexFile:
			return literal(string(b.index))
		}
		d, _ := ocilayout.ParseBlobName(name)
		desc := ocispec.Descriptor{Digest: d, Size: needed[d]}
		from := content(b.work.src)
		if _, ok := fresh[d]; !ok {
			from = b.target
		}
		r, err := from.Blob(ctx, desc)
		return r, desc.Size, err
	}
	tmp := filepath.Join(b.work.dir, "archive")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a leftover: %w", err)
	}
	return ocilayout.ReplaceArchive(ctx, b.dst.Name, tmp, names, open)
}

// unchanged tells whether the archive holds just these files and this index.json.
func (b *builder) unchanged(names []string) (bool, error) {
	files, err := b.target.Files()
	if err != nil {
		return false, err
	}
	var have, want []string
	for _, f := range files {
		have = append(have, f.Name)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "/") {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	was, err := indexFile(b.target.Entries())
	return err == nil && slices.Equal(have, want) && string(was) == string(b.index), err
}

// archiveNames is the order of the files: what readers look at first, then blobs by
// digest.
func archiveNames(blobs map[digest.Digest]int64) []string {
	names := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile, ocispec.ImageBlobsDir + "/"}
	dir := ""
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		if under := ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/"; under != dir {
			names, dir = append(names, under), under
		}
		names = append(names, ocilayout.BlobName(d))
	}
	return names
}

func literal(s string) (io.ReadCloser, int64, error) {
	return io.NopCloser(strings.NewReader(s)), int64(len(s)), nil
}
