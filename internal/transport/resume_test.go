package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// resume reads a blob whose beginning is there.
func resume(t *testing.T, src Source, d ocispec.Descriptor, have io.Reader) ([]byte, error) {
	t.Helper()
	r, err := Resume(t.Context(), src, d, have)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestResume(t *testing.T) {
	content := noise(1 << 20)
	good := goodRanges(content)
	wrong := append([]byte("x"), content[1:500000]...)
	for _, tt := range []struct {
		name  string
		have  io.Reader
		serve http.HandlerFunc
		gets  int
		bytes int64 // over the network, at most
		rule  string
	}{
		{"half", bytes.NewReader(content[:500000]), good, 1, 1<<20 - 500000, ""},
		{"half, slowly", iotest.OneByteReader(bytes.NewReader(content[:500000])), good, 1, 1<<20 - 500000, ""},
		{"half, the end with the bytes", iotest.DataErrReader(bytes.NewReader(content[:500000])), good, 1, 1<<20 - 500000, ""},
		{"nothing", bytes.NewReader(nil), good, 1, 1 << 20, ""},
		{"all", bytes.NewReader(content), good, 0, 0, ""},
		{"all but one", bytes.NewReader(content[:1<<20-1]), good, 1, 1, ""},
		{"unreadable from the middle", io.MultiReader(bytes.NewReader(content[:300]), iotest.ErrReader(errors.New("bad sector"))), good, 1, 1<<20 - 300, ""},
		{"wrong", bytes.NewReader(wrong), good, 1, 1 << 20, ruleDigest},
		{"all, wrong", io.MultiReader(bytes.NewReader(wrong), bytes.NewReader(content[500000:])), good, 0, 0, ruleDigest},
		{"too much", io.MultiReader(bytes.NewReader(content), strings.NewReader("x")), good, 0, 0, ruleSize},
		{"of a server without ranges", bytes.NewReader(content[:500000]), whole(content), 1, 1 << 20, ""},
		{"breaks twice", bytes.NewReader(content[:500000]), first(2, dying(good, 100000), good), 3, 1<<20 - 500000, ""},
		{"breaks for ever", bytes.NewReader(content[:500000]), dying(good, 1000), 6, 10000, "-"},
		{"blob is shorter there", bytes.NewReader(content[:500000]), goodRanges(content[:400000]), 1, 100, ruleSize},
		{"blob is gone", bytes.NewReader(content[:500000]), status(404), 1, 100, "-"},
		{"redirect", bytes.NewReader(content[:500000]), redirectTo(t, good), 1, 1 << 20, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, im := blobFake(t, content, tt.serve)
			src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
			b, err := resume(t, src, im.m.Layers[0], tt.have)
			switch tt.rule {
			case "":
				if err != nil || !bytes.Equal(b, content) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			case "-":
				if err == nil {
					t.Error("no error")
				}
			default:
				wantRefusal(t, err, tt.rule)
			}
			if got := f.requests(); len(got) != tt.gets || src.Usage().Bytes > tt.bytes {
				t.Errorf("%q, usage %+v", got, src.Usage())
			}
		})
	}
}

// TestResumeLocal: what lies on this disk is read from it.
func TestResumeLocal(t *testing.T) {
	im := makeImage(t, "the layer")
	c := testClient(t, Options{})
	to := "oci:" + t.TempDir() + "/l:v1"
	if err := publish(t, c, to, im); err != nil {
		t.Fatal(err)
	}
	b, err := resume(t, openSource(t, c, to), im.m.Layers[0], strings.NewReader("the wrong"))
	if err != nil || string(b) != "the layer" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestResumeBadDescriptor(t *testing.T) {
	f, im := blobFake(t, noise(100), goodRanges(noise(100)))
	src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), f.host()+"/r:v1")
	d := im.m.Layers[0]
	d.Size = -1
	if _, err := resume(t, src, d, strings.NewReader("x")); err == nil {
		t.Error("negative size")
	}
}
