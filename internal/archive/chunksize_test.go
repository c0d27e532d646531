package archive

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestChunkSizes measures what the mean size of a chunk costs: NBPACK_SERIES names
// directories with consecutive versions of a boot tree, separated by colons, as
// testdata/chunks/series.sh makes them. For each mean it prints, in MB of one update,
// the new chunks, the part of the table of contents that lists the file, and both;
// and how many runs the new chunks are in. "make chunks" runs it.
func TestChunkSizes(t *testing.T) {
	dirs := filepath.SplitList(os.Getenv("NBPACK_SERIES"))
	if len(dirs) < 2 {
		t.Skip("it measures and judges nothing; make chunks runs it")
	}
	names, err := fs.Glob(os.DirFS(dirs[0]), "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	fmt.Println("| file | mean KiB | chunks | new MB | table MB | together | runs |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, name := range names {
		for mean := 4 << 10; mean <= 1<<20; mean *= 2 {
			var before map[[sha256.Size]byte]bool
			var fresh, table, runs []string
			var chunks int
			var together []string
			for i, dir := range dirs {
				c := chunkFile(t, filepath.Join(dir, name), mean)
				if i > 0 {
					n, r := c.against(before)
					fresh = append(fresh, mb(n))
					table = append(table, mb(c.table))
					together = append(together, mb(n+c.table))
					runs = append(runs, fmt.Sprint(r))
				}
				before, chunks = c.sums(), len(c.chunks)
			}
			fmt.Printf("| %s | %d | %d | %s | %s | %s | %s |\n", name, mean>>10, chunks,
				strings.Join(fresh, ", "), strings.Join(table, ", "), strings.Join(together, ", "), strings.Join(runs, ", "))
		}
	}
}

func mb(n int64) string { return fmt.Sprintf("%.2f", float64(n)/1e6) }

// chunkedFile is a file as a table of contents lists it.
type chunkedFile struct {
	chunks []chunkRecord
	table  int64 // bytes of a table with this file alone
}

func chunkFile(t *testing.T, name string, mean int) chunkedFile {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c chunkedFile
	var at int64
	hash, cutter := sha256.New(), newChunker(mean)
	for {
		data, err := cutter.next(f)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(data)
		c.chunks = append(c.chunks, chunkRecord{offset: at, size: int64(len(data)), sum: sha256.Sum256(data)})
		at += int64(len(data)) + 13 // the frame of a chunk that does not compress
	}
	w, err := newTOCWriter()
	if err != nil {
		t.Fatal(err)
	}
	e := newTOCEntry(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(name), Size: at, Mode: fileMode})
	e.Digest, e.EndOffset = sha256Digest(hash.Sum(nil)), at
	if err := w.add(e, c.chunks); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(e.Digest); err != nil {
		t.Fatal(err)
	}
	c.table = int64(w.frame.data.Len())
	return c
}

func (c *chunkedFile) sums() map[[sha256.Size]byte]bool {
	return maps.Collect(func(yield func([sha256.Size]byte, bool) bool) {
		for _, k := range c.chunks {
			if !yield(k.sum, true) {
				return
			}
		}
	})
}

// against gives the bytes of the chunks that are new, and in how many runs they are.
func (c *chunkedFile) against(old map[[sha256.Size]byte]bool) (fresh int64, runs int) {
	was := false
	for _, k := range c.chunks {
		if old[k.sum] {
			was = false
			continue
		}
		if !was {
			runs++
		}
		was = true
		fresh += k.size
		old[k.sum] = true // fetched once, wherever it occurs
	}
	return fresh, runs
}
