package transport

import (
	"bytes"
	_ "crypto/sha256" // digests parse only if their hash is linked in
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"mime"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The rules that this package applies.
const (
	ruleDigest    = spec.RuleDigest
	ruleSize      = spec.RuleSize
	ruleMediaType = spec.RuleMediaType
	ruleManifest  = spec.RuleDocumentSize
	ruleLayout    = spec.RuleLayoutForm
)

// verifyReader passes a stream through that must be exactly the content of a
// descriptor. It never gives a byte beyond the declared size, and gives io.EOF
// only when the content was right.
type verifyReader struct {
	r    io.ReadCloser
	d    ocispec.Descriptor
	v    digest.Verifier
	left int64
	err  error // sticky
}

func newVerifyReader(r io.ReadCloser, d ocispec.Descriptor) *verifyReader {
	return &verifyReader{r: r, d: d, v: d.Digest.Verifier(), left: d.Size}
}

// Read implements io.Reader.
func (v *verifyReader) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	if v.left == 0 {
		v.err = v.finish()
		return 0, v.err
	}
	if int64(len(p)) > v.left {
		p = p[:v.left]
	}
	n, err := v.r.Read(p)
	v.left -= int64(n)
	_, _ = v.v.Write(p[:n]) // a hash never fails
	switch {
	case err == io.EOF && v.left > 0:
		v.err = spec.Refuse(ruleSize, v.d.Digest.String(), "content ends after %d bytes, its descriptor says %d", v.d.Size-v.left, v.d.Size)
	case err != nil && err != io.EOF:
		v.err = err
	}
	return n, v.err
}

// finish judges the content once all of its declared bytes have passed.
func (v *verifyReader) finish() error {
	var probe [1]byte
	for {
		n, err := v.r.Read(probe[:])
		if n > 0 {
			return spec.Refuse(ruleSize, v.d.Digest.String(), "content goes on after the %d bytes that its descriptor says", v.d.Size)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !v.v.Verified() {
		return spec.Refuse(ruleDigest, v.d.Digest.String(), "content does not have this digest")
	}
	return io.EOF
}

// Close closes the underlying stream.
func (v *verifyReader) Close() error {
	if v.err == nil {
		v.err = fmt.Errorf("read %s: stream is closed", v.d.Digest)
	}
	return v.r.Close()
}

// checkDescriptor refuses descriptors that no lookup may start from: the
// digest becomes a path or a URL. unknownSize allows a size of -1.
func checkDescriptor(d ocispec.Descriptor, unknownSize bool) error {
	if _, err := spec.ParseDigest(d.Digest.String()); err != nil {
		return err
	}
	if d.Size < 0 && !(unknownSize && d.Size == -1) {
		return spec.Refuse(ruleSize, d.Digest.String(), "descriptor has the negative size %d", d.Size)
	}
	return nil
}

// readManifest reads a manifest from r and checks its size and digest.
func readManifest(r io.Reader, d ocispec.Descriptor) ([]byte, error) {
	limit := int64(spec.MaxManifestSize)
	if d.Size > limit {
		return nil, spec.Refuse(ruleManifest, d.Digest.String(), "manifest of %d bytes is over the limit of %d", d.Size, limit)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	switch {
	case int64(len(b)) > limit:
		return nil, spec.Refuse(ruleManifest, d.Digest.String(), "manifest is over the limit of %d bytes", limit)
	case d.Size >= 0 && int64(len(b)) != d.Size:
		return nil, spec.Refuse(ruleSize, d.Digest.String(), "manifest does not have the %d bytes that its descriptor says", d.Size)
	}
	if d.Digest.Algorithm().FromBytes(b) != d.Digest {
		return nil, spec.Refuse(ruleDigest, d.Digest.String(), "manifest does not have this digest")
	}
	return b, nil
}

// manifestShape is what tells manifests from indexes.
type manifestShape struct {
	MediaType string          `json:"mediaType"`
	Config    json.RawMessage `json:"config"`
	Layers    json.RawMessage `json:"layers"`
	Manifests json.RawMessage `json:"manifests"`
}

// manifestType gives the one media type that the descriptor, the response
// header and the body agree on. Each of them may be silent, and when all are,
// the shape of the body decides; none may contradict another
// (CVE-2021-41190: the same bytes read as an index here and an image there).
func manifestType(d ocispec.Descriptor, header string, body []byte) (string, error) {
	var m manifestShape
	if err := spec.UnmarshalStrict(body, &m); err != nil {
		return "", fmt.Errorf("parse manifest %s: %w", d.Digest, err)
	}
	if header != "" {
		t, _, err := mime.ParseMediaType(header)
		if err != nil {
			return "", spec.Refuse(ruleMediaType, d.Digest.String(), "response has the malformed content type %q", header)
		}
		header = t
	}
	mt := ""
	for _, s := range []struct{ who, mt string }{{"its descriptor", d.MediaType}, {"the response", header}, {"the manifest itself", m.MediaType}} {
		if s.mt == "" {
			continue
		}
		if mt != "" && s.mt != mt {
			return "", spec.Refuse(ruleMediaType, d.Digest.String(), "%s says media type %q, but before that it was %q", s.who, s.mt, mt)
		}
		mt = s.mt
	}
	isIndex, isManifest := present(m.Manifests), present(m.Layers) || present(m.Config)
	if isIndex && isManifest {
		return "", spec.Refuse(ruleMediaType, d.Digest.String(), "manifest looks like an index and like an image at once")
	}
	if mt == "" {
		switch {
		case isIndex:
			mt = ocispec.MediaTypeImageIndex
		case isManifest:
			mt = ocispec.MediaTypeImageManifest
		}
	}
	switch {
	case spec.IsIndex(mt) && !isManifest, spec.IsManifest(mt) && !isIndex:
		return mt, nil
	case spec.IsIndex(mt), spec.IsManifest(mt):
		return "", spec.Refuse(ruleMediaType, d.Digest.String(), "media type %q does not fit the content", mt)
	}
	return "", spec.Refuse(ruleMediaType, d.Digest.String(), "media type %q is neither an image manifest nor an index", mt)
}

func present(m json.RawMessage) bool {
	return len(m) > 0 && !bytes.Equal(m, []byte("null"))
}
