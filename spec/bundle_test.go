package spec

import (
	"errors"
	"fmt"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestBundlePlatforms(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"linux/arm64", "[linux/arm64]"},
		{"linux/amd64,linux/arm/v7", "[linux/amd64 linux/arm/v7]"},
		{"", "refused"},
		{"linux/amd64,", "refused"},
		{"linux/??", "refused"},
	} {
		list, err := BundlePlatforms(ocispec.Descriptor{Annotations: map[string]string{AnnotationBundlePlatforms: tt.in}})
		got := fmt.Sprint(list)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			got = "refused"
		}
		if got != tt.want {
			t.Errorf("%q: %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	if list, err := BundlePlatforms(ocispec.Descriptor{}); list != nil || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}
