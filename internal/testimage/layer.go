package testimage

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// sum counts and hashes what passes through.
type sum struct {
	hash.Hash
	n int64
}

// newSum takes "" or "sha256", or "sha512".
func newSum(algorithm string) *sum {
	if algorithm == "sha512" {
		return &sum{Hash: sha512.New()}
	}
	return &sum{Hash: sha256.New()}
}

func (s *sum) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.Hash.Write(p)
}

func (s *sum) hex() string { return hex.EncodeToString(s.Sum(nil)) }

func hexOf(algorithm string, b []byte) string {
	s := newSum(algorithm)
	// A hash never fails.
	_, _ = s.Write(b)
	return s.hex()
}

// writeLayer puts a layer into the store and gives its descriptor and diff ID.
func (b *builder) writeLayer(l Layer, docker bool) (desc json.RawMessage, digest, diffID string, err error) {
	tmp, err := os.CreateTemp(b.dir, "layer-")
	if err != nil {
		return nil, "", "", err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	blob, diff := newSum(b.algorithm), newSum("")
	var annotations map[string]string
	if l.Chunked != nil {
		l.Codec = "zstd"
		annotations, err = l.writeWithTables(io.MultiWriter(tmp, blob), diff, b.vars)
	} else {
		err = l.writeCompressed(io.MultiWriter(tmp, blob), diff, b.vars)
	}
	if err != nil {
		return nil, "", "", err
	}
	name, size := blob.hex(), blob.n
	if l.Bytes != nil || l.Stored != nil {
		name, size, err = b.editBlob(tmp.Name(), l)
	} else {
		err = os.Rename(tmp.Name(), b.blobPath(name))
	}
	if err != nil {
		return nil, "", "", err
	}
	mediaType := l.MediaType
	if mediaType == "" {
		mediaType = layerType(l.Codec, docker)
	}
	var edits []Edit
	if annotations != nil {
		at := "/annotations"
		body, err := marshal(annotations)
		if err != nil {
			return nil, "", "", err
		}
		edits = []Edit{{At: &at, Set: body}}
	}
	desc, err = b.descriptor(mediaType, name, size, append(edits, l.Edit...))
	return desc, name, diff.hex(), err
}

// writeCompressed writes the layer's stream by its codec, and also to diff.
func (l Layer) writeCompressed(w, diff io.Writer, v Vars) error {
	codec, err := l.compressor(w, v)
	if err != nil {
		return err
	}
	if err := l.writeStream(io.MultiWriter(codec, diff), v); err != nil {
		return err
	}
	return codec.Close()
}

// writeWithTables writes it as zstd:chunked, and gives the annotations that say so.
func (l Layer) writeWithTables(w, diff io.Writer, v Vars) (map[string]string, error) {
	blob, annotations, stream, err := l.writeChunked(v)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(blob); err != nil {
		return nil, err
	}
	_, err = diff.Write(stream)
	return annotations, err
}

// writeStream writes the tar stream, edited where the layer says so, or the file.
func (l Layer) writeStream(w io.Writer, v Vars) error {
	if l.Raw != nil {
		_, err := io.Copy(w, l.Raw.Reader(v))
		return err
	}
	if l.Tar == nil {
		return writeTar(w, v, l.Entries)
	}
	var whole bytes.Buffer
	if err := writeTar(&whole, v, l.Entries); err != nil {
		return err
	}
	edited, err := applyByteEdits(whole.Bytes(), l.Tar, v)
	if err != nil {
		return fmt.Errorf("tar: %w", err)
	}
	_, err = w.Write(edited)
	return err
}

// editBlob stores the compressed bytes of file with the layer's edits.
func (b *builder) editBlob(file string, l Layer) (digest string, size int64, err error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return "", 0, err
	}
	if body, err = applyByteEdits(body, l.Bytes, b.vars); err != nil {
		return "", 0, fmt.Errorf("bytes: %w", err)
	}
	digest, size = hexOf(b.algorithm, body), int64(len(body))
	if body, err = applyByteEdits(body, l.Stored, b.vars); err != nil {
		return "", 0, fmt.Errorf("stored: %w", err)
	}
	return digest, size, os.WriteFile(b.blobPath(digest), body, 0o644)
}

func layerType(codec string, docker bool) string {
	base, gz := "application/vnd.oci.image.layer.v1.tar", "+gzip"
	if docker {
		base, gz = "application/vnd.docker.image.rootfs.diff.tar", ".gzip"
	}
	switch codec {
	case "none":
		return base
	case "zstd":
		return base + gz[:1] + "zstd"
	}
	return base + gz
}

// compressor gives the writer that the codec and its odd forms ask for.
func (l Layer) compressor(w io.Writer, v Vars) (io.WriteCloser, error) {
	if l.Skippable != nil {
		if err := writeSkippable(w, l.Skippable.Bytes(v)); err != nil {
			return nil, err
		}
	}
	frame := func(w io.Writer) (io.WriteCloser, error) {
		switch {
		case l.Codec == "none":
			return nopCloser{w}, nil
		case l.Codec == "zstd" && l.Window != 0:
			return &rawFrame{w: w, window: l.Window}, nil
		case l.Codec == "zstd":
			return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		case l.Codec == "" || l.Codec == "gzip":
			return gzip.NewWriterLevel(w, gzip.BestSpeed)
		}
		return nil, fmt.Errorf("no codec %q", l.Codec)
	}
	if l.Members > 1 {
		return &memberWriter{w: w, members: l.Members, frame: frame}, nil
	}
	return frame(w)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// memberWriter keeps the stream and writes it as several compressed ones.
type memberWriter struct {
	bytes.Buffer
	w       io.Writer
	members int
	frame   func(io.Writer) (io.WriteCloser, error)
}

func (m *memberWriter) Close() error {
	per := m.Len()/m.members + 1
	for m.Len() > 0 {
		f, err := m.frame(m.w)
		if err != nil {
			return err
		}
		if _, err := f.Write(m.Next(per)); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// writeSkippable writes a zstd skippable frame (RFC 8878, 3.1.2).
func writeSkippable(w io.Writer, content []byte) error {
	n := len(content)
	frame := append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, content...)
	_, err := w.Write(frame)
	return err
}

// rawFrame writes a zstd frame of uncompressed blocks whose header asks the
// reader for a window of 1<<window bytes (RFC 8878, 3.1.1).
type rawFrame struct {
	bytes.Buffer
	w      io.Writer
	window int
}

func (f *rawFrame) Close() error {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(f.window-10) << 3}
	for {
		part := f.Next(1 << 16)
		last := 0
		if f.Len() == 0 {
			last = 1
		}
		head := len(part)<<3 | last
		out = append(out, byte(head), byte(head>>8), byte(head>>16))
		out = append(out, part...)
		if last == 1 {
			_, err := f.w.Write(out)
			return err
		}
	}
}
