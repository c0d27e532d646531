package fetch

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// files lists a directory with the contents of its files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			list[e.Name()] = e.Type().String()
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		list[e.Name()] = string(b)
	}
	return list
}

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := files(t, dir)
	if len(got) != len(want) {
		t.Errorf("the directory has %q, want %q", got, want)
	}
	for name, content := range want {
		if have, ok := got[name]; !ok || have != content {
			t.Errorf("%s is %.40q, want %.40q", name, have, content)
		}
	}
}

func blobRequests(asked []string) (n int) {
	for _, a := range asked {
		if strings.HasPrefix(a, "GET blobs/") {
			n++
		}
	}
	return n
}

func TestFetchWritesAndKeeps(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	f := newFileRegistry(t)
	f.index(t, "v", child{content: "disk one", disktype: "raw", title: "images/disk.raw"})
	dir := t.TempDir()
	out := filepath.Join(dir, "disk")
	result, _, err := fetch(t, f.ref(":v"), Options{Output: out})
	if err != nil || !result.Changed || result.Path != out || result.FileDigest != result.Digest || result.FileSize != 8 {
		t.Fatalf("%+v, %v", result, err)
	}
	wantFiles(t, dir, map[string]string{"disk": "disk one"})
	before, err := os.Stat(out)
	if err != nil || before.Mode() != 0o640 {
		t.Fatalf("mode %v, %v", before.Mode(), err)
	}

	// The same content is not fetched again, and its file not touched.
	f.requests()
	result, _, err = fetch(t, f.ref(":v"), Options{Output: out})
	if n := blobRequests(f.requests()); err != nil || result.Changed || result.FileSize != 8 || n != 0 {
		t.Errorf("%+v, %v, %d blobs", result, err, n)
	}
	after, err := os.Stat(out)
	if err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the file was touched: %v", err)
	}

	// Other content of the same length: a new file with the mode of the old one.
	if err := os.WriteFile(out, []byte("disk two"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o600); err != nil {
		t.Fatal(err)
	}
	if result, _, err = fetch(t, f.ref(":v"), Options{Output: out}); err != nil || !result.Changed {
		t.Errorf("%+v, %v", result, err)
	}
	wantFiles(t, dir, map[string]string{"disk": "disk one"})
	if after, err = os.Stat(out); err != nil || after.Mode() != 0o600 || os.SameFile(before, after) {
		t.Errorf("mode %v, %v", after.Mode(), err)
	}

	// A directory takes the last element of the title.
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{dir, dir + "/"} {
		result, _, err = fetch(t, f.ref(":v"), Options{Output: output})
		if err != nil || result.Path != filepath.Join(dir, "disk.raw") {
			t.Errorf("%+v, %v", result, err)
		}
	}
	wantFiles(t, dir, map[string]string{"disk.raw": "disk one"})
}

// TestFetchFailures: whatever goes wrong, the directory is what it was.
func TestFetchFailures(t *testing.T) {
	big := make([]byte, 3<<20)
	_, _ = rand.Read(big)
	content := string(big)
	blob := "blobs/" + digest.FromString(content).String()
	on := func(answer func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, blob) {
				return false
			}
			answer(w)
			return true
		}
	}
	for name, tt := range map[string]struct {
		before func(w http.ResponseWriter, r *http.Request) bool
		code   int
	}{
		"another blob": {on(func(w http.ResponseWriter) { _, _ = w.Write(bytes.Repeat([]byte("x"), len(big))) }), 3},
		"last byte":    {on(func(w http.ResponseWriter) { _, _ = w.Write(append(bytes.Clone(big[:len(big)-1]), big[len(big)-1]^1)) }), 3},
		"broken off":   {on(func(w http.ResponseWriter) { _, _ = w.Write(big[1:]) }), 1},
		"too short": {on(func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)-1))
			_, _ = w.Write(big[1:])
		}), 3},
		"no blob":            {on(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }), 4},
		"no access":          {on(func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }), 1},
		"a page that is not": {on(func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) }), 1},
	} {
		for _, there := range []string{"", "the old one"} {
			t.Run(name+" "+there, func(t *testing.T) {
				f := newFileRegistry(t)
				f.index(t, "v", child{content: content, disktype: "raw"})
				f.before = tt.before
				dir := t.TempDir()
				want := map[string]string{}
				if there != "" {
					want["disk"] = there
					if err := os.WriteFile(filepath.Join(dir, "disk"), []byte(there), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if _, _, err := fetch(t, f.ref(":v"), Options{Output: filepath.Join(dir, "disk")}); codeOf(err) != tt.code {
					t.Errorf("got %v", err)
				}
				wantFiles(t, dir, want)
			})
		}
	}
}

// TestFetchCancelled: a signal in the middle of the blob.
func TestFetchCancelled(t *testing.T) {
	f := newFileRegistry(t)
	f.index(t, "v", child{content: "disk", disktype: "raw"})
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "4")
		_, _ = w.Write([]byte("di"))
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		return true
	}
	dir := t.TempDir()
	ref, err := transport.ParseReference(f.ref(":v"))
	if err != nil {
		t.Fatal(err)
	}
	insecure := false
	c, err := transport.NewClient(transport.Options{TLSVerify: &insecure})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := File(ctx, c, ref, Options{Output: filepath.Join(dir, "disk")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantFiles(t, dir, nil)
}

// TestFetchTitles: the publisher's name for a file may not leave the directory.
func TestFetchTitles(t *testing.T) {
	for title, want := range map[string]string{
		"vmlinuz": "vmlinuz", "boot/x86_64/vmlinuz": "vmlinuz", "a b": "a b",
		"": "", "/etc/passwd": "", "../x": "", "a/../../x": "", ".bashrc": "", "home/.bashrc": "",
		"a\\b": "", "a\nb": "", ".": "", "a/": "", ".nbextract": "",
	} {
		f := newFileRegistry(t)
		f.index(t, "v", child{content: "x", disktype: "raw", title: title})
		dir := t.TempDir()
		_, _, err := fetch(t, f.ref(":v"), Options{Output: dir})
		if want == "" {
			if codeOf(err) != 3 {
				t.Errorf("%q: %v", title, err)
			}
			wantFiles(t, dir, nil)
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", title, err)
		}
		wantFiles(t, dir, map[string]string{want: "x"})
	}
}

// TestFetchDecompress: on request only, by media type, with the proof that the
// annotations allow.
func TestFetchDecompress(t *testing.T) {
	plain := strings.Repeat("disk ", 10000)
	var gz, zst bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write([]byte(plain))
	_ = w.Close()
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(plain))
	_ = z.Close()
	proof := map[string]string{spec.AnnotationSrcDigest: digest.FromString(plain).String(), spec.AnnotationSrcSize: "50000"}
	wrong := map[string]string{spec.AnnotationSrcDigest: digest.FromString("x").String()}
	for _, tt := range []struct {
		child child
		name  string // of the file that is written; empty: refused
		again bool   // the second time, too, something is fetched
	}{
		{child{content: zst.String(), layerType: "application/zstd", title: "disk.raw.zst"}, "disk.raw", true},
		{child{content: zst.String(), layerType: spec.MediaTypeFileZstd, title: "disk.raw", notes: proof}, "disk.raw", false},
		{child{content: gz.String(), layerType: "application/gzip", title: "disk.raw.gz", notes: proof}, "disk.raw", false},
		{child{content: plain, layerType: "application/octet-stream", title: "disk.raw.zst"}, "disk.raw.zst", false},
		{child{content: zst.String(), layerType: "application/zstd", title: "disk.raw", notes: wrong}, "", false},
		{child{content: gz.String(), layerType: "application/zstd", title: "disk.raw"}, "", false},
		{child{content: zst.String(), layerType: "application/zstd", title: ".zst"}, "", false},
	} {
		tt.child.disktype = "raw"
		f := newFileRegistry(t)
		f.index(t, "v", tt.child)
		dir := t.TempDir()
		result, _, err := fetch(t, f.ref(":v"), Options{Output: dir, Decompress: true})
		if tt.name == "" {
			if codeOf(err) != 3 {
				t.Errorf("%s: %v", tt.child.layerType, err)
			}
			wantFiles(t, dir, nil)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, map[string]string{tt.name: plain})
		if result.Digest != digest.FromString(tt.child.content) || result.FileDigest != digest.FromString(plain) || result.FileSize != int64(len(plain)) {
			t.Errorf("%+v", result)
		}
		f.requests()
		result, _, err = fetch(t, f.ref(":v"), Options{Output: dir, Decompress: true})
		if n := blobRequests(f.requests()); err != nil || (n > 0) != tt.again || result.Changed != tt.again {
			t.Errorf("again: %+v, %v, %d blobs", result, err, n)
		}
		// Without the request the blob comes as it is, under its own name.
		raw := t.TempDir()
		if _, _, err := fetch(t, f.ref(":v"), Options{Output: raw}); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, raw, map[string]string{tt.child.title: tt.child.content})
	}
}

// TestFetchNearlyEmpty: a disk of zeros looks like a bomb; the user may know better.
func TestFetchNearlyEmpty(t *testing.T) {
	var gz bytes.Buffer
	w, err := gzip.NewWriterLevel(&gz, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 80<<20))
	_ = w.Close()
	f := newFileRegistry(t)
	f.index(t, "v", child{content: gz.String(), disktype: "raw", layerType: "application/gzip"})
	dir := t.TempDir()
	_, _, err = fetch(t, f.ref(":v"), Options{Output: filepath.Join(dir, "disk"), Decompress: true})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Hint(), "--decompress") {
		t.Errorf("got %v", err)
	}
	wantFiles(t, dir, nil)
}
