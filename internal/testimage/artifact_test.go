package testimage

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/oci"
)

// TestArtifactsAreReadByORAS holds the builder against a program that knows
// nothing of it: what is not broken on purpose is read as it is meant.
func TestArtifactsAreReadByORAS(t *testing.T) {
	for name, description := range map[string]string{
		"artifact":  `{"root":{"artifact":{"files":[{"title":"sub/empty","data":""}]}}}`,
		"titled":    `{"root":{"artifact":{"form":"titled","bare":true,"without":["kernel"]}}}`,
		"directory": `{"root":{"artifact":{"bare":true,"files":[{"title":"d","pack":[{"name":"d","type":"dir"},{"name":"d/a","data":"x"}]}]}}}`,
		"many":      `{"root":{"artifact":{"empty":true,"bare":true,"files":[{"title":"f{n}","data":"x","times":20}]}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir, vars := build(t, description)
			from, err := oci.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			to := t.TempDir()
			store, err := file.New(to)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if _, err := oras.Copy(t.Context(), from, "latest", store, "", oras.DefaultCopyOptions); err != nil {
				t.Fatal(err)
			}
			want, err := parse(t, description).Root.Tree(vars)
			if err != nil {
				t.Fatal(err)
			}
			for path, what := range want {
				if what == "/" || strings.HasPrefix(what, "-> ") {
					continue // ORAS makes no links
				}
				body, err := os.ReadFile(filepath.Join(to, path))
				if got := fmt.Sprintf("%x", sha256.Sum256(body)); err != nil || got != what {
					t.Errorf("%s: %s, %v", path, got, err)
				}
			}
		})
	}
}

func TestCompressedArtifact(t *testing.T) {
	dir, vars := build(t, `{"root":{"artifact":{"form":"nboci"}}}`)
	manifest, err := os.ReadFile(filepath.Join(dir, "blobs/sha256", vars["manifest"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"application/x-netboot-file+zstd"`, `"org.pulpproject.netboot.src.digest":"sha256:`, `"org.pulpproject.netboot.src.size":"11"`} {
		if !strings.Contains(string(manifest), word) {
			t.Errorf("no %s in %s", word, manifest)
		}
	}
	if strings.Contains(string(manifest), "netboot.version") {
		t.Error("nboci writes no version")
	}
}

func TestArtifactMistakes(t *testing.T) {
	for _, description := range []string{
		`{"root":{"artifact":{"files":[{"title":"a"}]}}}`,
		`{"root":{"artifact":{"change":{"kernel":[{"at":"/annotations/nothing","drop":true}]}}}}`,
	} {
		if err := Build(filepath.Join(t.TempDir(), "l"), parse(t, description), Vars{"generation": "one"}); err == nil {
			t.Errorf("%s was built", description)
		}
	}
}
