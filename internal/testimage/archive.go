package testimage

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
)

// Archive packs the finished layout into one tar file.
type Archive struct {
	First []Entry    // before the layout's own entries
	Last  []Entry    // after them
	Skip  []string   // paths of the layout that are left out
	Bytes []ByteEdit // to the tar file
}

// BuildArchive writes the layout in dir as a tar file.
func BuildArchive(file, dir string, a Archive, vars Vars) error {
	entries := append([]Entry(nil), a.First...)
	skip := map[string]bool{}
	for _, name := range a.Skip {
		skip[vars.expand(name)] = true
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || skip[rel] {
			return err
		}
		if d.IsDir() {
			entries = append(entries, Entry{Type: "dir", Name: Text(rel + "/")})
			return nil
		}
		body, err := os.ReadFile(p)
		entries = append(entries, Entry{Name: Text(rel), Data: Text(string(body))})
		return err
	})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := writeTar(&out, vars, append(entries, a.Last...)); err != nil {
		return err
	}
	body, err := applyByteEdits(out.Bytes(), a.Bytes, vars)
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}
