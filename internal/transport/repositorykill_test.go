package transport

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// killed names the layout that a process writes to until it is killed.
const killed = "NBPACK_TEST_LAYOUT_UNTIL_KILLED"

// TestKilledWriter kills processes that write to a layout, wherever they are
// just then. What index.json names is whole afterwards, and the next writer is
// not in the way of anything.
func TestKilledWriter(t *testing.T) {
	if to := os.Getenv(killed); to != "" {
		writeUntilKilled(t, to)
		return
	}
	c := testClient(t, Options{})
	names := 0
	for round := range 12 {
		// Half of them begin with nothing.
		to := "oci:" + t.TempDir() + "/new"
		if round%2 == 0 {
			if err := publish(t, c, to+":first", makeImage(t, "first")); err != nil {
				t.Fatal(err)
			}
		}
		killWriter(t, to, round/2)
		r := openRepository(t, c, to)
		tags, err := r.Tags(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, tag := range tags {
			if err := readEverything(t, c, to+":"+tag); err != nil {
				t.Errorf("round %d: %q is not whole: %v", round, tag, err)
			}
		}
		names += len(tags)
		im := makeImage(t, "last")
		if err := publish(t, c, to+":last", im); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkImage(t, c, to+":last", im)
	}
	t.Logf("%d images were there", names)
}

// killWriter lets a process write that many images, and kills it on the way to
// the next one.
func killWriter(t *testing.T, to string, images int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWriter$")
	cmd.Env = append(os.Environ(), killed+"="+to, "TMPDIR="+t.TempDir()) // it cannot clean up
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range images + 1 { // it says when it begins
		if !lines.Scan() {
			break
		}
	}
	for range rand.N(10000) { // it may be anywhere in the next one
		_, _ = os.Lstat(os.Args[0])
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("the writer ended by itself: %v", err)
	}
	rest, _ := io.ReadAll(out)
	_ = cmd.Wait()
	if strings.Contains(string(rest), "FAIL") {
		t.Errorf("the writer failed: %s", rest)
	}
}

func writeUntilKilled(t *testing.T, to string) {
	c := testClient(t, Options{})
	r := openRepository(t, c, to)
	fmt.Println("begin")
	for n := 0; ; n++ {
		im := makeImage(t, strings.Repeat(fmt.Sprint(n, " "), 10000))
		stop := newForest(t)
		stop.add(ocispec.MediaTypeImageManifest, im.manifest)
		stop.add(ocispec.MediaTypeImageConfig, im.config)
		stop.add(ocispec.MediaTypeImageLayer, im.layers[0])
		src := openSource(t, c, stop.layout(im.desc))
		if err := r.Copy(t.Context(), src, im.desc); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Put(t.Context(), fmt.Sprint("n", n), im.desc.MediaType, im.manifest, PutOptions{}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("wrote", n)
	}
}
