package relocate

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/transport"
)

// TestMany: the requests grow with the number of images and no faster, in the first
// run and in the second one. NBPACK_TEST_IMAGES sets the number.
func TestMany(t *testing.T) {
	many := 40
	if s := os.Getenv("NBPACK_TEST_IMAGES"); s != "" {
		var err error
		if many, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	s := newStock(t)
	from := newHub(t, false)
	var images []string
	for n := range many {
		repo := fmt.Sprint("r", n%(many/2)) // two tags in each repository
		layers := newStock(t)
		one := layers.add("application/x-netboot-file", []byte(fmt.Sprint("kernel ", n)))
		two := layers.add("application/x-netboot-file", []byte(fmt.Sprint("initrd ", n)))
		for d, b := range layers.bytes {
			s.bytes[d] = b
		}
		s.push(from.host(), repo, fmt.Sprint("v", n), s.image(fmt.Sprint(n), one, two))
		images = append(images, fmt.Sprintf("%s/%s:v%d", from.host(), repo, n))
	}
	c := testClient(t, transport.Options{})
	measure := func(images []string) (first, second int) {
		to := newHub(t, false)
		for i, count := range []*int{&first, &second} {
			before, began := c.Usage().Requests, time.Now()
			if _, _, err := relocate(t, c, to.host(), images...); err != nil {
				t.Fatal(err)
			}
			*count = c.Usage().Requests - before
			t.Logf("%d images, run %d: %d requests, %s", len(images), i+1, *count, time.Since(began).Round(time.Millisecond))
		}
		return first, second
	}
	first, second := measure(images[:many/2])
	moreFirst, moreSecond := measure(images)
	const few = 8 // to find out about http
	if moreFirst > 2*first+few || moreSecond > 2*second+few {
		t.Errorf("%d images took %d and %d requests, %d images %d and %d", many/2, first, second, many, moreFirst, moreSecond)
	}
	if most := 9 * many; moreSecond > most {
		t.Errorf("%d requests to see that %d images are there", moreSecond, many)
	}
}

// TestOthersRead: oras copies the copy, which proves every digest in it.
func TestOthersRead(t *testing.T) {
	s := newStock(t)
	from, to := newHub(t, true), newHub(t, true)
	zoo := s.zoo()
	s.push(from.host(), "r", "v1", zoo)
	repos, _, err := relocate(t, testClient(t, transport.Options{}), to.host(), from.host()+"/r:v1")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := remote.NewRepository(to.host() + "/" + repos[0])
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	d, err := oras.Copy(t.Context(), repo, "v1", memory.New(), "v1", oras.DefaultCopyOptions)
	if err != nil || d.Digest != zoo.Digest {
		t.Errorf("%v, %v", d, err)
	}
}
