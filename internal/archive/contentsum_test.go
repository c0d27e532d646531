package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// filesAround has files below and above the size from which on they are digested with
// the stream, and such that end where a block of a pipe does.
func filesAround() [][]byte {
	var files [][]byte
	for _, size := range []int{0, 1, 511, sectionFrom - 1, sectionFrom, sectionFrom + 1, 3, 2*pipeBlockSize - 512, 5*pipeBlockSize + 77} {
		files = append(files, random(size))
	}
	return files
}

func tarOfFiles(t *testing.T, files [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewTarWriter(&b, time.Unix(1700000000, 0))
	for i, f := range files {
		if got, err := w.File(fmt.Sprint(i), int64(len(f)), bytes.NewReader(f)); err != nil || got != sumHex(f) {
			t.Fatalf("file %d of %d bytes: %s, %v", i, len(f), got, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDigestsOfFiles reads each file as a whole, some of it, and none of it; whatever is
// read, the diff ID is that of the whole stream.
func TestDigestsOfFiles(t *testing.T) {
	files := filesAround()
	data := tarOfFiles(t, files)
	for part, read := range map[string]func(i int) int64{
		"all":          func(i int) int64 { return int64(len(files[i])) },
		"every second": func(i int) int64 { return int64(len(files[i]) * (i % 2)) },
		"halves":       func(i int) int64 { return int64(len(files[i]) / (1 + i%2)) },
	} {
		l, err := NewLayerReader(context.Background(), bytes.NewReader(data), plain(data), 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range files {
			if _, err := l.Next(); err != nil {
				t.Fatal(err)
			}
			n, err := io.CopyN(io.Discard, l, read(i))
			if err != nil {
				t.Fatal(err)
			}
			if got := l.SHA256(); n == int64(len(f)) && got != sumHex(f) {
				t.Errorf("%s: file %d of %d bytes has the sha256 %q", part, i, len(f), got)
			}
		}
		if _, err := l.Next(); err != io.EOF {
			t.Fatal(err)
		}
		if got := l.DiffID(); got != digest.FromBytes(data) {
			t.Errorf("%s: diff ID %s", part, got)
		}
		_ = l.Close()
	}
}

// TestCloseWithinFile: whoever has enough may go at any place.
func TestCloseWithinFile(t *testing.T) {
	files := filesAround()
	data := tarOfFiles(t, files)
	for _, read := range []int64{0, 1, pipeBlockSize, 4 * pipeBlockSize} {
		l, err := NewLayerReader(context.Background(), bytes.NewReader(data), plain(data), 0)
		if err != nil {
			t.Fatal(err)
		}
		for range files {
			if _, err := l.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.CopyN(io.Discard, l, read); err != nil {
			t.Fatal(err)
		}
		if got := l.SHA256(); got != "" {
			t.Errorf("after %d bytes the file has the sha256 %q", read, got)
		}
		_ = l.Close()
		if _, err := l.Next(); err == nil {
			t.Error("a closed reader goes on")
		}
	}
}

func TestWriterTellsDigestsOfFiles(t *testing.T) {
	for _, c := range Compressions() {
		var blob bytes.Buffer
		l, err := NewLayerWriter(&blob, c)
		if err != nil {
			t.Fatal(err)
		}
		w := NewTarWriter(l, time.Unix(1700000000, 0))
		for i, f := range filesAround() {
			got, err := w.File(fmt.Sprint(i), int64(len(f)), bytes.NewReader(f))
			if err != nil || got != sumHex(f) {
				t.Errorf("%s: file %d of %d bytes: %s, %v", c, i, len(f), got, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		desc, diffID, err := l.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, got, err := readLayer(&blob, desc); err != nil || got != diffID {
			t.Errorf("%s: it reads as %s, %v; written was %s", c, got, err, diffID)
		}
	}
}

func TestFileReaderTellsDigest(t *testing.T) {
	data := []byte("kernel")
	for _, promised := range []string{"", digest.SHA256.FromBytes(data).String(), digest.SHA512.FromBytes(data).String()} {
		desc := ocispec.Descriptor{Size: int64(len(data)), Digest: digest.FromString("blob")}
		if promised != "" {
			desc.Annotations = map[string]string{spec.AnnotationSrcDigest: promised}
		}
		r, err := NewFileReader(context.Background(), bytes.NewReader(data), spec.CodecNone, desc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil || r.SHA256() != sumHex(data) {
			t.Errorf("promised %q: sha256 %q, %v", promised, r.SHA256(), err)
		}
		r.Close()
	}
}
