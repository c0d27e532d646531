package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/testimage"
)

// TestHostile pulls every image of testdata/hostile into an empty directory and
// over a good tree. What is refused leaves no trace; one good tree stands up to
// all attacks of a class, so that what one of them breaks is seen at once.
func TestHostile(t *testing.T) {
	classes, err := testimage.Load(os.DirFS("../../testdata/hostile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range classes {
		t.Run(class.Name, func(t *testing.T) {
			// A process that is just being started holds copies of this one's open
			// files, locks too, so classes that start some run by themselves.
			if !slices.ContainsFunc(class.Cases, func(c testimage.Case) bool { return c.Heavy }) {
				t.Parallel()
			}
			w := newWorld(t)
			for i, c := range class.Cases {
				t.Run(c.Name, func(t *testing.T) {
					if c.Heavy && testing.Short() {
						t.Skip("heavy")
					}
					w.attack(t, i, c)
				})
			}
			w.checkGoodTreeIsAlive(t)
		})
	}
}

// world is a directory with everything that an attack could reach.
type world struct {
	dir, good string
	trap      *httptest.Server // nobody may ask it anything
	trapped   atomic.Int64
	canary    map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: fastDir(t)}
	w.trap = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.trapped.Add(1) }))
	t.Cleanup(w.trap.Close)
	writeFile(t, filepath.Join(w.dir, "canary", "secret"), "secret\n")
	w.canary = snapshot(t, filepath.Join(w.dir, "canary"))
	w.good = filepath.Join(w.dir, "good")
	w.installGood(t, w.good)
	return w
}

// fastDir is a temporary directory, in memory where there is room: some thousand
// installations and their fsyncs take minutes on a disk, and what fsync is good
// for is not the question here.
func fastDir(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	var fs unix.Statfs_t
	if unix.Statfs(memory, &fs) == nil && uint64(fs.Bavail)*uint64(fs.Bsize) > 2<<30 {
		if dir, err := os.MkdirTemp(memory, "nbextract-hostile-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

// installGood makes a boot directory with a good tree and files of the site.
func (w *world) installGood(t *testing.T, dir string) {
	t.Helper()
	layout := filepath.Join(w.dir, "layout-of-good")
	if _, err := os.Stat(layout); err != nil {
		vars := testimage.Vars{"generation": "old"}
		if err := testimage.Build(layout, testimage.Layout{}, vars); err != nil {
			t.Fatal(err)
		}
	}
	if r := runHere(t, "pull", "oci:"+layout+":latest", "-d", dir); r.code != 0 {
		t.Fatalf("the good image: exit %d\n%s", r.code, r.stderr)
	}
	for name, content := range siteFiles {
		writeFile(t, filepath.Join(dir, name), content)
	}
}

// installOver brings a good tree to another image, of the old generation.
func (w *world) installOver(t *testing.T, image *testimage.Image, dir string) {
	t.Helper()
	layout := filepath.Join(w.dir, "layout-over")
	defer os.RemoveAll(layout)
	over := testimage.Layout{Root: testimage.Node{Image: image}}
	if err := testimage.Build(layout, over, testimage.Vars{"generation": "old"}); err != nil {
		t.Fatal(err)
	}
	if r := runHere(t, "pull", "oci:"+layout+":latest", "-d", dir); r.code != 0 {
		t.Fatalf("the image before: exit %d\n%s", r.code, r.stderr)
	}
}

// siteFiles are what a site keeps in and beside the good tree.
var siteFiles = map[string]string{
	"demo/1/amd64/site.cfg":      "site\n",
	"demo/1/amd64/grub/site.cfg": "site's grub\n",
	"other/file":                 "not ours\n",
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// attack builds one case and pulls it twice.
func (w *world) attack(t *testing.T, i int, c testimage.Case) {
	vars := testimage.Vars{"generation": "new", "OUT": filepath.Join(w.dir, "canary"), "TRAP": w.trap.URL}
	layout := filepath.Join(w.dir, "layout-"+strconv.Itoa(i))
	defer os.RemoveAll(layout)
	if err := testimage.Build(layout, c.Layout, vars); err != nil {
		t.Fatal(err)
	}
	ref, file := "oci:"+layout+":latest", layout+".tar"
	if c.Archive != nil {
		if err := testimage.BuildArchive(file, layout, *c.Archive, vars); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(file)
		ref = "oci-archive:" + file
	}
	pull := func(dir string) result {
		args := []string{"pull", ref, "-d", dir}
		if c.Serve != nil {
			registry, err := testimage.NewRegistry(layout, *c.Serve, vars)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(registry)
			defer server.Close()
			args = []string{"pull", "--tls-verify=false", "docker://" + strings.TrimPrefix(server.URL, "http://") + "/demo/image:latest", "-d", dir}
		}
		args = append(args, c.Args...)
		if c.Heavy {
			return runMeasured(t, declared(filepath.Join(layout, "blobs/sha256", vars["manifest"])), args...)
		}
		return runHere(t, args...)
	}
	empty := filepath.Join(w.dir, "empty")
	defer os.RemoveAll(empty)
	first := pull(empty)
	w.judge(t, c, first)
	if first.code == 0 {
		checkTree(t, c, vars, empty, nil)
	} else {
		checkEmpty(t, empty)
	}

	dir := w.good
	if first.code == 0 || c.Over != nil {
		dir = filepath.Join(w.dir, "updated")
		defer os.RemoveAll(dir)
		w.installGood(t, dir)
	}
	if c.Over != nil {
		w.installOver(t, c.Over, dir)
	}
	before := snapshot(t, dir)
	second := pull(dir)
	w.judge(t, c, second)
	switch {
	case second.code != 0 && first.code == 0:
		t.Errorf("accepted into an empty directory, but not over a good tree: %s", second.stderr)
	case second.code != 0:
		compare(t, "the good tree", snapshot(t, dir), before)
	case first.code == 0:
		checkTree(t, c, vars, dir, siteFiles)
	}
	compare(t, "the canary", snapshot(t, filepath.Join(w.dir, "canary")), w.canary)
	w.checkSurroundings(t, layout, file)
}

// judge checks the exit code and the manners of a run.
func (w *world) judge(t *testing.T, c testimage.Case, r result) {
	t.Helper()
	if !slices.Contains(c.Want.Exit, r.code) {
		t.Errorf("exit %d, want %v\n%s", r.code, c.Want.Exit, r.stderr)
	}
	t.Logf("exit %d: %.500s", r.code, r.stderr)
	errorLines, want := strings.Count("\n"+r.stderr, "\nnbextract: error: "), 1
	if r.code == 0 {
		want = 0
	}
	if errorLines != want {
		t.Errorf("%d error lines, want %d\n%s", errorLines, want, r.stderr)
	}
	if r.code != 0 && !strings.Contains(strings.ToLower(r.stderr), strings.ToLower(c.Want.Says)) {
		t.Errorf("the error does not say %q\n%s", c.Want.Says, r.stderr)
	}
	for _, out := range []string{r.stdout, r.stderr} {
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(c rune) bool {
			return c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c))
		}) {
			t.Errorf("raw control characters: %q", out)
		}
	}
	if n := w.trapped.Swap(0); n != 0 {
		t.Errorf("%d requests to an address from the image", n)
	}
}

// checkSurroundings looks for what was written beside the boot directories.
func (w *world) checkSurroundings(t *testing.T, mine ...string) {
	t.Helper()
	names, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"canary", "good", "empty", "updated", "layout-of-good"}
	for _, m := range mine {
		known = append(known, filepath.Base(m))
	}
	for _, n := range names {
		if !slices.Contains(known, n.Name()) {
			t.Errorf("%q appeared", n.Name())
			os.RemoveAll(filepath.Join(w.dir, n.Name()))
		}
	}
}

// checkGoodTreeIsAlive asks the tree that saw it all for an ordinary no-op.
func (w *world) checkGoodTreeIsAlive(t *testing.T) {
	t.Helper()
	before := snapshot(t, w.good)
	r := runHere(t, "pull", "--checksum", "oci:"+filepath.Join(w.dir, "layout-of-good")+":latest", "-d", w.good)
	if r.code != 0 {
		t.Errorf("the good tree afterwards: exit %d\n%s", r.code, r.stderr)
	}
	compare(t, "the good tree afterwards", snapshot(t, w.good), before)
}

// checkEmpty requires that nothing visible is in a directory.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	for name := range snapshot(t, dir) {
		switch name {
		case ".", ".nbextract", ".nbextract/images", ".nbextract/trees", "by-digest":
		default:
			t.Errorf("a refused image left %q", name)
		}
	}
}

// checkTree compares the live tree and its generation with the description.
func checkTree(t *testing.T, c testimage.Case, vars testimage.Vars, dir string, site map[string]string) {
	t.Helper()
	want, err := c.ExpectedTree(vars)
	if err != nil {
		t.Fatal(err)
	}
	generations, err := filepath.Glob(filepath.Join(dir, "by-digest", "*"+vars["manifest"]))
	if err != nil || len(generations) != 1 && len(c.Want.Pick) == 0 {
		t.Errorf("generations of the image: %q", generations)
	}
	for _, generation := range generations {
		compare(t, "the generation", readTree(t, generation), want)
	}
	for name, content := range site {
		if !strings.HasPrefix(name, c.Want.Live+"/") {
			continue
		}
		name = strings.TrimPrefix(name, c.Want.Live+"/")
		want[name] = fmt.Sprintf("site %x", sha256.Sum256([]byte(content)))
		if parent := filepath.Dir(name); parent != "." {
			want[parent] = "/"
		}
	}
	compare(t, "the live tree", readTree(t, filepath.Join(dir, c.Want.Live)), want)
	for name := range snapshot(t, dir) {
		if strings.HasPrefix(name, ".nbextract/stage/") || name == ".nbextract/journal" {
			t.Errorf("an accepted image left %q", name)
		}
	}
}

// readTree reads a laid out tree in the form of testimage.Tree, without the
// ".efi" twins of entry links. Files of a site are marked, all others must have
// the modes that nbextract gives.
func readTree(t *testing.T, dir string) testimage.Tree {
	t.Helper()
	tree := testimage.Tree{}
	for name, what := range snapshot(t, dir) {
		kind, rest, _ := strings.Cut(what, " ")
		fields := strings.Fields(rest)
		switch {
		case name == ".":
		case kind == "dir":
			tree[name] = "/"
			if fields[0] != "-rwxr-xr-x" && fields[0] != "drwxr-xr-x" {
				t.Errorf("%q has mode %s", name, fields[0])
			}
		case kind == "link":
			tree[name] = "-> " + rest
		case fields[0] == "-rw-r-----":
			tree[name] = "site " + fields[len(fields)-1]
		default:
			tree[name] = fields[len(fields)-1]
			if fields[0] != "-r--r--r--" {
				t.Errorf("%q has mode %s", name, fields[0])
			}
		}
	}
	for name, what := range tree {
		if entry, ok := strings.CutSuffix(name, ".efi"); ok && slices.Contains([]string{"BOOT", "BOOTA"}, filepath.Base(entry)) &&
			strings.HasPrefix(what, "-> ") && (what == tree[entry] || what == "-> "+filepath.Base(entry)) {
			delete(tree, name)
		}
	}
	return tree
}

// snapshot describes everything below dir; inode numbers do not count, and the
// times only of files. A missing directory is empty.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			all[name] = "dir " + info.Mode().String()
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			all[name] = "link " + target
			return err
		case info.Mode().IsRegular():
			body, err := os.ReadFile(p)
			all[name] = fmt.Sprintf("file %s %s %x", info.Mode(), info.ModTime().Format(time.RFC3339Nano), sha256.Sum256(body))
			return err
		default:
			all[name] = "odd " + info.Mode().String()
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	// What the lock file says, and whether empty work directories are kept, is
	// nobody's business; what lies in them is.
	for _, name := range []string{"lock", "stage", "partial"} {
		delete(all, ".nbextract/"+name)
	}
	return all
}

func compare(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %q is %q, want %q", what, name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q is there: %q", what, name, got[name])
		}
	}
}
