package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"strconv"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FileReader gives the content of a blob that is one file and no tar, without
// its compression. It works in the goroutine of its caller.
type FileReader struct {
	dec    *decompressor
	stream *boundedReader
	want   digest.Digest // empty where the descriptor does not say
	exact  bool          // the descriptor declares the size of the file
	sum    hash.Hash     // SHA-256
	proof  hash.Hash     // of want's algorithm
	err    error
}

// readAhead is how many bytes of a blob are asked for at once. A zstd decoder asks for
// each header and each block, and every reader behind it would be called for a few bytes.
const readAhead = 128 << 10

// NewFileReader reads the blob r, which desc describes, with the codec that its
// media type means to the caller. The annotations [spec.AnnotationSrcSize] and
// [spec.AnnotationSrcDigest] of desc are promises about the file, proved where
// they stand; what they may not be is refused. A file without a declared size is
// bounded by [spec.LayerBound].
//
// The caller proves digest and size of the blob, usually by giving a reader that
// fails at its end.
func NewFileReader(ctx context.Context, r io.Reader, codec spec.Codec, desc ocispec.Descriptor) (*FileReader, error) {
	promise, err := FilePromise(desc)
	if err != nil {
		return nil, err
	}
	bound, exact := promise.Size, true
	if bound < 0 {
		bound = desc.Size
		if exact = codec == spec.CodecNone; !exact {
			// Another annotation declares the size of a tar, which this is not.
			if bound, _, err = spec.LayerBound(ocispec.Descriptor{Size: desc.Size}); err != nil {
				return nil, err
			}
		}
	}
	f := &FileReader{dec: &decompressor{blob: &blobReader{ctx: ctx, r: bufio.NewReaderSize(r, readAhead)}, codec: codec}, want: promise.Digest, exact: exact}
	f.stream = &boundedReader{r: f.dec, left: bound}
	f.sum = sha256.New()
	if f.proof = f.sum; f.want != "" && f.want.Algorithm() != digest.SHA256 {
		f.proof = f.want.Algorithm().Hash()
	}
	return f, nil
}

// FilePromise gives the digest and the size of the file in a blob as desc has
// them in its annotations; empty and -1 where it does not say, and where they are
// about the blob itself: a publisher who was given a compressed file knows no
// other. What is neither a digest nor a number of bytes is refused.
func FilePromise(desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	promise := ocispec.Descriptor{Size: -1}
	if s, ok := desc.Annotations[spec.AnnotationSrcDigest]; ok {
		d, err := spec.ParseDigest(s)
		if err != nil {
			return promise, err
		}
		promise.Digest = d
	}
	if s, ok := desc.Annotations[spec.AnnotationSrcSize]; ok {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
			return promise, spec.Refuse(spec.RuleLayerSize, spec.AnnotationSrcSize, "%q is not a number of bytes", s)
		}
		promise.Size = n
	}
	if promise.Digest != "" && promise.Digest == desc.Digest {
		return ocispec.Descriptor{Size: -1}, nil
	}
	return promise, nil
}

// Read implements [io.Reader]. [io.EOF] means that r was read to its end and that
// the file is what the descriptor promises; a *[spec.Refusal] that it is not.
func (f *FileReader) Read(p []byte) (int, error) {
	if f.err != nil || len(p) == 0 {
		return 0, f.err
	}
	n, err := f.stream.Read(p)
	f.sum.Write(p[:n])
	if f.proof != f.sum {
		f.proof.Write(p[:n])
	}
	if err == io.EOF {
		err = f.finish()
	}
	f.err = err
	return n, err
}

// finish judges the file once all of it has passed.
func (f *FileReader) finish() error {
	if f.exact && f.stream.left > 0 {
		return spec.Refuse(spec.RuleLayerSize, "", "the file ends %d bytes before its declared size", f.stream.left)
	}
	if f.want != "" {
		if got := digest.NewDigest(f.want.Algorithm(), f.proof); got != f.want {
			return spec.Refuse(spec.RuleDigest, spec.AnnotationSrcDigest, "the file has the digest %s, not %s", got, f.want)
		}
	}
	return io.EOF
}

// SHA256 is the digest of what was read, in lower-case hex.
func (f *FileReader) SHA256() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// Close releases the codec; it does not close the blob.
func (f *FileReader) Close() { f.dec.Close() }
