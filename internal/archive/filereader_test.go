package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestFileReader(t *testing.T) {
	data := []byte(strings.Repeat("kernel and more ", 5000))
	sha256, sha512 := digest.FromBytes(data).String(), digest.SHA512.FromBytes(data).String()
	zstd, gz := zstded(t, 1<<20, data[:70000], data[70000:]), gzipped(t, data)
	// Zeros without a promise about their number, far over the bound.
	bomb := gzipped(t, make([]byte, 80<<20))
	size := func(s string) map[string]string { return map[string]string{spec.AnnotationSrcSize: s} }
	for _, tt := range []struct {
		name  string
		blob  []byte
		codec spec.Codec
		notes map[string]string
		rule  string // of the refusal; empty: good
	}{
		{"plain", data, spec.CodecNone, nil, ""},
		{"zstd", zstd, spec.CodecZstd, nil, ""},
		{"gzip", gz, spec.CodecGzip, nil, ""},
		{"sha256", zstd, spec.CodecZstd, map[string]string{spec.AnnotationSrcSize: "80000", spec.AnnotationSrcDigest: sha256}, ""},
		{"sha512", gz, spec.CodecGzip, map[string]string{spec.AnnotationSrcDigest: sha512}, ""},
		{"plain with proof", data, spec.CodecNone, map[string]string{spec.AnnotationSrcDigest: sha256}, ""},
		{"about the blob itself", gz, spec.CodecGzip, map[string]string{spec.AnnotationSrcSize: fmt.Sprint(len(gz)), spec.AnnotationSrcDigest: digest.FromBytes(gz).String()}, ""},
		{"plain with another digest", data[1:], spec.CodecNone, map[string]string{spec.AnnotationSrcDigest: sha256}, spec.RuleDigest},
		{"plain with another size", data, spec.CodecNone, size("79999"), spec.RuleLayerSize},
		{"another digest", gz, spec.CodecGzip, map[string]string{spec.AnnotationSrcDigest: digest.FromString("x").String()}, spec.RuleDigest},
		{"too long", zstd, spec.CodecZstd, size("79999"), spec.RuleLayerSize},
		{"too short", zstd, spec.CodecZstd, size("80001"), spec.RuleLayerSize},
		{"a size that is none", zstd, spec.CodecZstd, size("+80000"), spec.RuleLayerSize},
		{"a negative size", zstd, spec.CodecZstd, size("-1"), spec.RuleLayerSize},
		{"a digest that is none", zstd, spec.CodecZstd, map[string]string{spec.AnnotationSrcDigest: "sha256:0"}, spec.RuleDigestSyntax},
		{"bomb, and the size of a tar does not count", bomb, spec.CodecGzip, map[string]string{spec.AnnotationUncompressedSize: "1000000000"}, spec.RuleLayerSize},
		{"other codec", gz, spec.CodecZstd, nil, spec.RuleLayerStream},
		{"cut off", gz[:len(gz)-1], spec.CodecGzip, nil, spec.RuleLayerStream},
		{"something behind it", append(bytes.Clone(gz), "tail"...), spec.CodecGzip, nil, spec.RuleLayerStream},
	} {
		t.Run(tt.name, func(t *testing.T) {
			desc := ocispec.Descriptor{Digest: digest.FromBytes(tt.blob), Size: int64(len(tt.blob)), Annotations: tt.notes}
			var got bytes.Buffer
			f, err := NewFileReader(t.Context(), bytes.NewReader(tt.blob), tt.codec, desc)
			if err == nil {
				defer f.Close()
				_, err = io.Copy(&got, f)
			}
			var refusal *spec.Refusal
			switch {
			case tt.rule == "" && (err != nil || !bytes.Equal(got.Bytes(), data)):
				t.Errorf("%d bytes, %v", got.Len(), err)
			case tt.rule != "" && (!errors.As(err, &refusal) || refusal.Rule != tt.rule):
				t.Errorf("got %v, want a refusal by %s", err, tt.rule)
			}
		})
	}
}

// TestFileReaderErrors: a broken source and an impatient caller are not bad content.
func TestFileReaderErrors(t *testing.T) {
	broken := errors.New("broken")
	blob := gzipped(t, []byte("kernel"))
	source := io.MultiReader(bytes.NewReader(blob[:5]), iotest.ErrReader(broken))
	f, err := NewFileReader(t.Context(), source, spec.CodecGzip, ocispec.Descriptor{Size: 100})
	if err == nil {
		_, err = io.Copy(io.Discard, f)
	}
	if !errors.Is(err, broken) {
		t.Errorf("broken source: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err = NewFileReader(ctx, bytes.NewReader(blob), spec.CodecGzip, ocispec.Descriptor{Size: int64(len(blob))})
	if err == nil {
		_, err = io.Copy(io.Discard, f)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
