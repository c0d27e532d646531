package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/nbpack/nbpack/spec"
)

func TestFrameReader(t *testing.T) {
	a, b := pattern(100_000, 1), bytes.Repeat([]byte("boot "), 50_000)
	za, zb := zstded(t, 1<<20, a), zstded(t, 1<<20, b)
	skippable := []byte{0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := NewFrameReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("before Reset: %d, %v", n, err)
	}
	for name, test := range map[string]struct {
		ctx    context.Context
		source io.Reader
		size   int
		want   []byte // nil for a refusal
		err    error
	}{
		"one":               {source: bytes.NewReader(za), size: len(a), want: a},
		"buffer":            {source: bytes.NewBuffer(za), size: len(a), want: a},
		"run":               {source: iotest.OneByteReader(bytes.NewReader(append(za[:len(za):len(za)], zb...))), size: len(a) + len(b), want: append(a[:len(a):len(a)], b...)},
		"skippable":         {source: bytes.NewReader(slices.Concat(skippable, za, skippable)), size: len(a), want: a},
		"empty":             {source: bytes.NewReader(nil), size: 0, want: []byte{}},
		"shorter":           {source: bytes.NewReader(za), size: len(a) + 1},
		"longer":            {source: bytes.NewReader(za), size: len(a) - 1},
		"nothing wanted":    {source: bytes.NewReader(za), size: 0},
		"nothing there":     {source: bytes.NewReader(nil), size: 1},
		"another frame":     {source: bytes.NewReader(append(za[:len(za):len(za)], zb...)), size: len(a)},
		"cut":               {source: bytes.NewReader(zb[:len(zb)-3]), size: len(b)},
		"cut at the frame":  {source: bytes.NewReader(append(zb[:len(zb):len(zb)], za[:3]...)), size: len(b)},
		"garbage":           {source: bytes.NewReader(a), size: len(a)},
		"garbage behind":    {source: bytes.NewReader(append(zb[:len(zb):len(zb)], "garbage"...)), size: len(b)},
		"window too large":  {source: bytes.NewReader(zstded(t, 64<<20, a)), size: len(a)},
		"bomb":              {source: bytes.NewReader(zstded(t, 1<<20, make([]byte, 64<<20))), size: 100},
		"broken source":     {source: io.MultiReader(bytes.NewReader(zb[:9]), iotest.ErrReader(broken)), size: len(b), err: broken},
		"broken at its end": {source: io.MultiReader(bytes.NewReader(zb), iotest.ErrReader(broken)), size: len(b), err: broken},
		"canceled":          {ctx: ctx, source: bytes.NewReader(zb), size: len(b), err: context.Canceled},
	} {
		if test.ctx == nil {
			test.ctx = t.Context()
		}
		for range 2 { // what came before must not matter
			if err := r.Reset(test.ctx, test.source, int64(test.size)); err != nil {
				if test.err == nil {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			got, err := io.ReadAll(r)
			if seeker, ok := test.source.(io.Seeker); ok {
				if _, err := seeker.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
			}
			switch {
			case test.want != nil:
				if err != nil || !bytes.Equal(got, test.want) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			case test.err != nil:
				if !errors.Is(err, test.err) {
					t.Errorf("%s: %v", name, err)
				}
			default:
				expectRefusal(t, err, spec.RuleLayerStream)
			}
			if len(got) > test.size {
				t.Errorf("%s: %d bytes instead of %d", name, len(got), test.size)
			}
			if test.err != nil || name == "buffer" || name == "run" {
				break // these sources cannot be read again
			}
		}
	}
}

func BenchmarkFrameReader(b *testing.B) {
	const size = 32 << 10
	data := pattern(size, 1)
	blob := zstded(b, size, data)
	r, err := NewFrameReader()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	b.SetBytes(size)
	for b.Loop() {
		if err := r.Reset(b.Context(), bytes.NewReader(blob), size); err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != size || err != nil {
			b.Fatal(n, err)
		}
	}
}
