// Package fetch brings one file of a reference (a kernel, a ramdisk, a disk image), found as
// Ironic finds it: resolve says which file that is, fetch proves it on its way, and
// replacement puts it in the place of what is there, in one step.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// What the image is wanted for, in the values of Ironic's
// image_download_source.
const (
	// SourceHTTP prefers raw disk images: the machine writes them as they come.
	SourceHTTP = "http"
	// SourceLocal prefers qcow2: a conductor converts them.
	SourceLocal = "local"
)

// Options say which file of a reference is meant and where it goes.
type Options struct {
	// Arch is the architecture of the machine, such as amd64 or x86_64. Empty:
	// any, as for a machine of which Ironic does not know it.
	Arch string
	// Source is SourceHTTP, which empty means too, or SourceLocal.
	Source string
	// Output is the file to write, or a directory (one that exists, or a name
	// with a slash at its end), which takes the file under its title.
	Output string
	// Decompress writes the file without the zstd or gzip of its media type.
	Decompress bool
	// DryRun decides only; Output may be empty.
	DryRun bool
	// Log and Warn take lines for the user; nil drops them.
	Log, Warn func(format string, args ...any)
}

// Result tells which file a reference means, and what was written. Its
// JSON form is the output of "nbextract fetch --json".
type Result struct {
	Reference string `json:"reference"`
	// URL names the manifest by its digest: oci://HOST/REPO@DIGEST.
	URL string `json:"url"`
	// Digest is that of the blob; of a bootable container, which is no single
	// file, that of its manifest.
	Digest         digest.Digest `json:"digest"`
	ManifestDigest digest.Digest `json:"manifest_digest"`
	IndexDigest    digest.Digest `json:"index_digest"` // empty where the reference names no index
	Size           int64         `json:"size"`         // bytes of the blob
	Title          string        `json:"title,omitempty"`
	MediaType      string        `json:"media_type,omitempty"`
	// Compression is what Ironic takes from the media type: none, gzip or zstd.
	Compression spec.Codec `json:"compression,omitempty"`
	DiskType    string     `json:"disktype,omitempty"`
	// Format is raw or qcow2, bootc for a bootable container, unknown for a
	// manifest named by its digest, and absent where nothing says.
	Format       string `json:"format,omitempty"`
	Architecture string `json:"architecture,omitempty"` // as the index says
	Bootc        bool   `json:"bootc"`

	// Path is the file that was written, or found unchanged. What follows is
	// about that file, and absent after a dry run.
	Path       string        `json:"path,omitempty"`
	Changed    bool          `json:"changed"`
	FileDigest digest.Digest `json:"file_digest,omitempty"` // differs from Digest after decompression
	FileSize   int64         `json:"file_size,omitempty"`
}

// File finds the one file that a reference means to Ironic (a kernel, a
// ramdisk, a disk image) and writes it to o.Output. The file appears there in
// one step, when all of it was proved; before that, and after a failure,
// nothing has changed. A file that has the content already is left alone, and
// nothing is fetched.
//
// Errors are *spec.Refusal for content that is not accepted, errors with the
// exit code 4 where there is no such image or no file in it for the machine,
// and one with 75 while another run writes the same file.
func File(ctx context.Context, c *transport.Client, ref transport.Reference, o Options) (*Result, error) {
	if err := o.check(ref); err != nil {
		return nil, err
	}
	src, err := c.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := checkTag(ctx, c, ref); err != nil {
		return nil, err
	}
	choice, err := (&fileResolver{src: src, ref: ref, arch: o.Arch, source: o.Source, log: o.Log, warn: o.Warn}).resolve(ctx)
	if err != nil {
		return nil, err
	}
	result := choice.result(ref)
	if o.DryRun {
		return result, nil
	}
	if choice.layer.Digest == "" {
		return nil, &spec.Refusal{
			Reason: fmt.Sprintf("%q is a bootable container to Ironic (bootc), and no single file", ref),
			Advice: "a disk image has the annotation disktype in its index; without one, name its manifest by digest: " + result.URL,
		}
	}
	return result, write(ctx, src, choice.layer, result, o)
}

// check refuses what needs no network to be refused, and completes o.
func (o *Options) check(ref transport.Reference) error {
	if o.Source == "" {
		o.Source = SourceHTTP
	}
	if o.Source != SourceHTTP && o.Source != SourceLocal {
		return &usageError{fmt.Sprintf("source %q is neither %s nor %s", o.Source, SourceLocal, SourceHTTP), ""}
	}
	if strings.Contains(o.Arch, "/") {
		return &usageError{fmt.Sprintf("%q is not an architecture", o.Arch), "write it alone, as in amd64 or x86_64"}
	}
	if ref.Digest != "" && ref.Digest.Algorithm() != digest.SHA256 && ref.Digest.Algorithm() != digest.SHA512 {
		return &usageError{fmt.Sprintf("digest %q: Ironic knows sha256 and sha512 only", ref.Digest), ""}
	}
	quiet := func(string, ...any) {}
	if o.Log == nil {
		o.Log = quiet
	}
	if o.Warn == nil {
		o.Warn = quiet
	}
	if o.DryRun {
		return nil
	}
	return checkOutput(o.Output)
}

// checkTag looks for the tag in the list of tags, as Ironic does before it
// asks for it: a tag that is not listed does not exist.
func checkTag(ctx context.Context, c *transport.Client, ref transport.Reference) error {
	if ref.Transport != transport.Docker || ref.Digest != "" {
		return nil // the names of a layout are looked up in its only list
	}
	tags, err := c.Tags(ctx, ref)
	if err != nil {
		return fmt.Errorf("look for the tag %q, as Ironic does: %w", ref.Tag, err)
	}
	for _, tag := range tags {
		if tag == ref.Tag {
			return nil
		}
	}
	return &transport.NotFoundError{Ref: ref.String(), What: fmt.Sprintf("tag %q", ref.Tag), Have: tags}
}

func (c *fileChoice) result(ref transport.Reference) *Result {
	r := &Result{
		Reference:      ref.String(),
		URL:            fileURL(ref, c.manifest),
		Digest:         c.manifest,
		ManifestDigest: c.manifest,
		IndexDigest:    c.index,
		DiskType:       c.disktype,
		Format:         c.format(),
		Architecture:   c.arch,
		Bootc:          c.bootc,
	}
	if c.layer.Digest != "" {
		r.Digest, r.Size, r.MediaType = c.layer.Digest, c.layer.Size, c.layer.MediaType
		r.Title = c.layer.Annotations[ocispec.AnnotationTitle]
		r.Compression = fileCodec(c.layer.MediaType)
	}
	return r
}

// fileCodec reads the end of a media type, as Ironic does. Neither the title
// nor the first bytes of a file say how it is compressed.
func fileCodec(mediaType string) spec.Codec {
	for _, codec := range []spec.Codec{spec.CodecZstd, spec.CodecGzip} {
		if strings.HasSuffix(mediaType, string(codec)) {
			return codec
		}
	}
	return spec.CodecNone
}

// write brings the file to its place, unless it is there, and completes the
// result.
func write(ctx context.Context, src transport.Source, layer ocispec.Descriptor, r *Result, o Options) error {
	codec := spec.CodecNone
	want := ocispec.Descriptor{Digest: layer.Digest, Size: layer.Size}
	var err error
	if o.Decompress && r.Compression != spec.CodecNone {
		codec = r.Compression
		if want, err = archive.FilePromise(layer); err != nil {
			return err
		}
	}
	if r.Path, err = outputPath(o.Output, r.Title, codec); err != nil {
		return err
	}
	file, err := newReplacement(r.Path)
	if err != nil {
		return err
	}
	same, err := file.already(ctx, want)
	if err != nil {
		return err
	}
	if same {
		r.FileDigest, r.FileSize = want.Digest, file.old.Size()
		return nil
	}
	for {
		if err := bring(ctx, src, layer, codec, want, file, r); !transport.MirrorLied(err) {
			return err
		}
	}
}

// bring fetches the file and moves it to its place.
func bring(ctx context.Context, src transport.Source, layer ocispec.Descriptor, codec spec.Codec, want ocispec.Descriptor, file *replacement, r *Result) error {
	if err := file.begin(want.Size); err != nil {
		return err
	}
	defer file.abandon()
	blob, err := src.Blob(ctx, layer)
	if err != nil {
		return err
	}
	defer blob.Close()
	content, err := openFile(ctx, blob, layer, codec)
	if err != nil {
		return transport.Blame(blob, err)
	}
	defer content.Close()
	// What has a promised digest was hashed on its way; the rest is here.
	r.FileDigest = want.Digest
	var stream io.Reader = content
	unknown := digest.SHA256.Digester()
	if want.Digest == "" {
		stream = io.TeeReader(content, unknown.Hash())
	}
	if r.FileSize, err = file.finish(stream); err != nil {
		return transport.Blame(blob, adviseBound(err, codec, want.Size))
	}
	if want.Digest == "" {
		r.FileDigest = unknown.Digest()
	}
	r.Changed = true
	return nil
}

// adviseBound knows of disks that are nearly empty, and so unpack to more than
// anybody may without a promise.
func adviseBound(err error, codec spec.Codec, promised int64) error {
	var refusal *spec.Refusal
	if codec != spec.CodecNone && promised < 0 && errors.As(err, &refusal) && refusal.Rule == spec.RuleLayerSize {
		refusal.Advice = "if you trust its publisher, fetch it without --decompress and unpack it yourself"
	}
	return err
}

// openFile reads the blob as the file that is wanted. The stream proves itself.
func openFile(ctx context.Context, blob io.Reader, layer ocispec.Descriptor, codec spec.Codec) (io.ReadCloser, error) {
	if codec == spec.CodecNone {
		return io.NopCloser(blob), nil
	}
	plain, err := archive.NewFileReader(ctx, blob, codec, layer)
	if err != nil {
		return nil, err
	}
	return &unpacked{plain}, nil
}

// unpacked is a file whose end is known.
type unpacked struct{ *archive.FileReader }

// Close releases the decoder.
func (u *unpacked) Close() error {
	u.FileReader.Close()
	return nil
}

// outputPath is the file that the user means. In a directory it gets the last
// element of its title, without the suffix of a compression that is taken off.
// Hidden files are refused: in a home directory they would be a trap.
func outputPath(output, title string, codec spec.Codec) (string, error) {
	if !namesDir(output) {
		return output, nil
	}
	if title == "" {
		return "", &spec.Refusal{Reason: "the file has no title to be named by", Advice: "name the file itself: -o FILE"}
	}
	if err := spec.CheckPath(title); err != nil {
		return "", fmt.Errorf("title of the file: %w", err)
	}
	name := path.Base(title)
	switch codec {
	case spec.CodecZstd:
		name = strings.TrimSuffix(strings.TrimSuffix(name, ".zst"), ".zstd")
	case spec.CodecGzip:
		name = strings.TrimSuffix(name, ".gz")
	}
	if name == "" || strings.HasPrefix(name, ".") {
		return "", &spec.Refusal{Reason: fmt.Sprintf("the title %q would be a hidden file", title), Advice: "name the file itself: -o FILE"}
	}
	return filepath.Join(output, name), nil
}
