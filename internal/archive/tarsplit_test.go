package archive

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// splitLines writes a tar-split: strings are segments, numbers sizes of contents.
func splitLines(items ...any) string {
	var b strings.Builder
	for i, item := range items {
		switch v := item.(type) {
		case []byte:
			fmt.Fprintf(&b, `{"type":2,"payload":%q,"position":%d}`+"\n", base64.StdEncoding.EncodeToString(v), i)
		case int, int64:
			fmt.Fprintf(&b, `{"type":1,"name":"x","size":%d,"payload":"AAAAAAAAAAA=","position":%d}`+"\n", v, i)
		case string:
			b.WriteString(v)
		}
	}
	return b.String()
}

func decodeSplit(t testing.TB, text string, desc ocispec.Descriptor) (*TarSplit, error) {
	t.Helper()
	f := metaFrameOf(t, []byte(text))
	return DecodeTarSplit(context.Background(), f.data.Bytes(), f.table(0), desc, 1)
}

func TestDecodeTarSplitRefuses(t *testing.T) {
	head := rawTar(member{name: "a", flag: '0', size: fmt.Sprintf("%011o", 700)})[:blockSize]
	dir := rawTar(member{name: "d/", flag: '5'})[:blockSize]
	pad, end := make([]byte, 324), make([]byte, 1024)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Size: 100}
	good := splitLines(dir, 0, head, 700, pad, end)
	if s, err := decodeSplit(t, good, desc); err != nil || s.Size() != 512+512+700+324+1024 || len(s.Entries()) != 2 {
		t.Fatalf("%v, %v", s, err)
	}
	for name, text := range map[string]string{
		"header in two segments": splitLines(dir[:100], dir[100:], 0, head, 700, append(pad, end...)),
		"empty segments":         splitLines([]byte{}, dir, []byte{}, 0, head, []byte{}, 700, []byte{}, pad, end),
		"no end marker":          splitLines(head, 700, pad),
	} {
		if _, err := decodeSplit(t, text, desc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"content before a header":        splitLines(700, head, 700, pad, end),
		"content in a header":            splitLines(head[:100], 700, head[100:], 700, pad, end),
		"content in the padding":         splitLines(head, 700, pad[:100], 5, pad[100:], end),
		"content at the end":             splitLines(head, 700, pad, end, 5),
		"content in the end marker":      splitLines(head, 700, pad, end[:512], 512),
		"content of a directory":         splitLines(dir, 5, head, 700, pad, end),
		"another size":                   splitLines(head, 701, pad, end),
		"no content":                     splitLines(head, pad, end),
		"content as a segment":           splitLines(head, make([]byte, 700), pad, end),
		"content in two parts":           splitLines(head, 300, 400, pad, end),
		"header goes on behind":          splitLines(append(head, 0), 700, pad[1:], end),
		"cut behind the header":          splitLines(head),
		"cut behind the content":         splitLines(head, 700),
		"garbage behind the end":         splitLines(head, 700, pad, end, []byte{1}),
		"not JSON":                       good + "x\n",
		"two items on a line":            strings.Replace(good, "\n", "", 1),
		"key twice":                      good + `{"type":2,"type":2}` + "\n",
		"key of another case":            good + `{"Type":2,"payload":""}` + "\n",
		"unknown type":                   good + `{"type":3,"payload":""}` + "\n",
		"no type":                        good + `{"payload":""}` + "\n",
		"negative size":                  good + `{"type":1,"size":-1}` + "\n",
		"segment with a size":            good + `{"type":2,"size":1,"payload":""}` + "\n",
		"payload that is not base64":     good + `{"type":2,"payload":"?"}` + "\n",
		"long line":                      good + `{"type":2,"payload":"` + strings.Repeat("A", 3<<20) + `"}` + "\n",
		"empty line":                     "\n" + good,
		"device":                         splitLines(rawTar(member{name: "n", flag: '3'})),
		"name leads outside":             splitLines(rawTar(member{name: "../n", flag: '0'})),
		"whiteout":                       splitLines(rawTar(member{name: ".wh.n", flag: '0'})),
		"more than the bound in content": splitLines(rawTar(member{name: "n", flag: '0', size: "77777777777"})[:512], int64(1<<33-1), end),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := decodeSplit(t, text, desc)
			expectRefusal(t, err, "")
			if s != nil {
				t.Error("there is a tar-split")
			}
		})
	}
}

// TestDecodeTarSplitHeaders: headers count against the bound too.
func TestDecodeTarSplitHeaders(t *testing.T) {
	dir := rawTar(member{name: "d/", flag: '5'})[:blockSize]
	text := splitLines(slices.Repeat([]any{dir, 0}, 40)...)
	for declared, rule := range map[string]string{"20480": "", "20479": spec.RuleLayerSize, "20481": spec.RuleLayerSize} {
		desc := ocispec.Descriptor{Annotations: map[string]string{spec.AnnotationUncompressedSize: declared}}
		if _, err := decodeSplit(t, text, desc); rule == "" {
			if err != nil {
				t.Error(err)
			}
		} else {
			expectRefusal(t, err, rule)
		}
	}
}

func TestDecodeTarSplitSize(t *testing.T) {
	data := foreignTar(t)
	blob, desc := foreignBlob(t, data)
	p := openPartial(t, blob, desc)
	for declared, rule := range map[string]string{
		strconv.Itoa(len(data)): "", strconv.Itoa(len(data) - 1): spec.RuleLayerSize, strconv.Itoa(len(data) + 1): spec.RuleLayerSize,
		"700000": spec.RuleLayerSize, "-1": spec.RuleLayerSize,
	} {
		desc.Annotations[spec.AnnotationUncompressedSize] = declared
		_, err := DecodeTarSplit(t.Context(), p.split.frame, p.split.table, desc, 1)
		if rule == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		expectRefusal(t, err, rule)
	}
}

// TestReassembleErrors: what is wrong with the files at hand ends in an error or in
// another diff ID, whatever else happens, and leaves no goroutine.
func TestReassembleErrors(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	blob, desc, diffID := compress(t, ZstdChunked, data, 1<<20)
	p := openPartial(t, blob, desc)
	_, files, _, err := readLayer(bytes.NewReader(blob), desc)
	if err != nil {
		t.Fatal(err)
	}
	var largest string
	for path, content := range files {
		if len(content) > len(files[largest]) {
			largest = path
		}
	}
	content := files[largest]
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, test := range map[string]struct {
			ctx     context.Context
			largest io.Reader
			open    error
			done    error
			want    error
		}{
			"right":    {t.Context(), strings.NewReader(content), nil, nil, nil},
			"other":    {t.Context(), strings.NewReader(content[1:] + "x"), nil, nil, nil},
			"shorter":  {t.Context(), strings.NewReader(content[1:]), nil, nil, ErrWrongSize},
			"longer":   {t.Context(), strings.NewReader(content + "x"), nil, nil, ErrWrongSize},
			"endless":  {t.Context(), zeros{}, nil, nil, ErrWrongSize},
			"empty":    {t.Context(), strings.NewReader(""), nil, nil, ErrWrongSize},
			"broken":   {t.Context(), io.MultiReader(strings.NewReader(content[:9]), iotest.ErrReader(broken)), nil, nil, broken},
			"at end":   {t.Context(), io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)), nil, nil, broken},
			"no file":  {t.Context(), nil, broken, nil, broken},
			"refused":  {t.Context(), strings.NewReader(content), nil, broken, broken},
			"canceled": {ctx, strings.NewReader(content), nil, nil, context.Canceled},
		} {
			open := 0
			sum, err := p.split.Reassemble(test.ctx, func(e spec.Entry) (io.ReadCloser, error) {
				if open++; open != 1 {
					t.Errorf("%s: %d files are open", name, open)
				}
				f := closer{strings.NewReader(files[e.Path]), &open}
				if e.Path == largest {
					f.Reader = test.largest
					return f, test.open
				}
				return f, nil
			}, func(e spec.Entry) error {
				if e.Path == largest {
					return test.done
				}
				return nil
			})
			if !errors.Is(err, test.want) || (err == nil) != (sum != "") || (sum == diffID) != (name == "right") {
				t.Errorf("%s: %s, %v", name, sum, err)
			}
			if open != 0 && test.open == nil {
				t.Errorf("%s: %d files stay open", name, open)
			}
		}
	})
}

type closer struct {
	io.Reader
	open *int
}

func (c closer) Close() error {
	*c.open--
	return nil
}

// FuzzTarSplit: what is accepted makes a tar that a LayerReader reads in the same way.
func FuzzTarSplit(f *testing.F) {
	head := rawTar(member{name: "a", flag: '0', size: fmt.Sprintf("%011o", 700)})[:blockSize]
	pad, end := make([]byte, 324), make([]byte, 1024)
	f.Add(splitLines(rawTar(member{name: "d/", flag: '5'})[:blockSize], 0, head, 700, pad, end))
	f.Add(splitLines(head, 300, 400, pad, end))
	f.Add(splitLines(rawTar(pax('x', "path", "größe", "size", "7"), member{name: "b", flag: '0'})[:3*blockSize], 7, make([]byte, 505), end))
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: 1 << 10}
		frame := z.EncodeAll([]byte(text), nil)
		s, err := DecodeTarSplit(t.Context(), frame, Table{Length: int64(len(frame)), Plain: int64(len(text))}, desc, 1)
		if err != nil || s.Size() > 1<<20 {
			return
		}
		var stream bytes.Buffer
		w, err := s.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		for {
			item, err := w.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			stream.Write(item.segment)
			stream.Write(make([]byte, item.size))
		}
		sum, err := s.Reassemble(t.Context(), func(e spec.Entry) (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, e.Size)), nil
		}, func(spec.Entry) error { return nil })
		if err != nil || sum != digest.FromBytes(stream.Bytes()) || int64(stream.Len()) != s.Size() {
			t.Fatalf("%d bytes, want %d: %v", stream.Len(), s.Size(), err)
		}
		desc.Size = s.Size()
		entries, files, _, err := readLayer(&stream, desc)
		if err != nil || !slices.Equal(entries, s.Entries()) {
			t.Fatalf("read as a tar: %v, as a tar-split: %v (%v)", entries, s.Entries(), err)
		}
		for path := range maps.Keys(files) {
			if !isZero([]byte(files[path])) {
				t.Errorf("%q has other content", path)
			}
		}
	})
}
