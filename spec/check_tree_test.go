package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkHops takes a chain of as many links as Linux follows, and no more,
// whatever the order of the links is.
func TestLinkHops(t *testing.T) {
	for _, n := range []int{1, MaxLinkHops, MaxLinkHops + 1, 3 * MaxLinkHops} {
		for _, backwards := range []bool{false, true} {
			img := goodImage()
			for i := range n {
				k := i
				if backwards {
					k = n - 1 - i
				}
				target := fmt.Sprintf("l%03d", k+1)
				if k == n-1 {
					target = "linux"
				}
				img.insert(linkAt(fmt.Sprintf("l%03d", k), target))
			}
			err := FirstError(Check(img))
			if n <= MaxLinkHops && err != nil {
				t.Errorf("%d links: %v", n, err)
			}
			if n > MaxLinkHops {
				wantRule(t, err, RuleLinkDangling)
			}
		}
	}
}

// TestLinkHopsAdd counts the links in the middle of a target too: two
// directories behind 25 links each are one too many together.
func TestLinkHopsAdd(t *testing.T) {
	img := goodImage()
	for i := range 25 {
		for _, dir := range []string{"x", "y"} {
			target := fmt.Sprintf("%s%02d", dir, i+1)
			if i == 24 {
				target = "."
			}
			img.insert(linkAt(fmt.Sprintf("%s%02d", dir, i), target))
		}
	}
	if err := FirstError(Check(img)); err != nil {
		t.Fatal(err)
	}
	img.insert(linkAt("z", "x00/y00/linux"))
	wantRule(t, FirstError(Check(img)), RuleLinkDangling)
}

func TestCheckBounds(t *testing.T) {
	img := goodImage()
	for i := range MaxEntries {
		img.Entries = append(img.Entries, fileAt(1, fmt.Sprintf("q/%d", i), ""))
	}
	img.list()
	wantRule(t, FirstError(Check(img)), RuleEntryCount)

	img = goodImage()
	for i := range MaxNamesSize / 4000 {
		name := strings.Repeat(strings.Repeat("q", 250)+"/", 16) + fmt.Sprint(i)
		img.Entries = append(img.Entries, fileAt(1, name, ""))
	}
	img.list()
	wantRule(t, FirstError(Check(img)), RuleEntryCount)

	img = goodImage()
	layer := img.Manifest.Layers[1]
	for range MaxLayers {
		img.Manifest.Layers = append(img.Manifest.Layers, layer)
		img.Config.RootFS.DiffIDs = append(img.Config.RootFS.DiffIDs, img.Config.RootFS.DiffIDs[0])
	}
	img.DiffIDs = nil
	wantRule(t, FirstError(Check(img)), RuleLayerCount)
}

// TestCheckDeep must end soon: links through links through deep directories,
// each of them wrong, would take hours if every link were followed anew.
func TestCheckDeep(t *testing.T) {
	img := goodImage()
	const n = 20000
	for i := range n {
		target := strings.Repeat("a/../", 60) + fmt.Sprintf("l%05d", (i+1)%n)
		img.Entries = append(img.Entries, linkAt(fmt.Sprintf("l%05d", i), target))
	}
	img.Entries = append(img.Entries, dirAt("a"))
	wantRule(t, FirstError(Check(img)), RuleLinkDangling)
}

func TestCheckDocuments(t *testing.T) {
	img := goodImage()
	img.Entries, img.Sums, img.HasSums, img.DiffIDs = nil, nil, false, nil
	if v := CheckDocuments(img); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
	img.setLabel(LabelVersion, "2")
	img.Config.OS = ""
	if got := found(CheckDocuments(img)); got != "platform, version-label "+LabelVersion {
		t.Errorf("got %q", got)
	}
	img.Manifest = nil
	if got := found(CheckDocuments(img)); got != "document-missing" {
		t.Errorf("got %q", got)
	}
}

// entriesOfText makes entries of lines "d path", "f path", "l path target",
// "h path target".
func entriesOfText(text string) []Entry {
	entries := []Entry{fileAt(0, SumsName, "sums"), fileAt(1, "file", "x")}
	for line := range strings.SplitSeq(text, "\n") {
		words := strings.Split(line, " ")
		switch {
		case len(words) == 2 && words[0] == "d":
			entries = append(entries, dirAt(words[1]))
		case len(words) == 2 && words[0] == "f":
			entries = append(entries, fileAt(1, words[1], words[1]))
		case len(words) == 3 && words[0] == "l":
			entries = append(entries, linkAt(words[1], words[2]))
		case len(words) == 3 && words[0] == "h":
			entries = append(entries, hardlinkAt(words[1], words[2]))
		}
	}
	return entries
}

// FuzzCheck writes every tree that is accepted to a real directory, in the most
// careless way, and asks the kernel whether all of it lies inside.
func FuzzCheck(f *testing.F) {
	f.Add("d a\nf a/b\nl c a/b\nl a/up ..\nl d a/up/file")
	f.Add("l p ..\nl p/q ..")
	f.Add("d d\nl d/p ..\nl d/z p/../file\nl r d/p/file")
	f.Add("f a\nh b a\nh c b\nl x x")
	f.Add("l a b\nl b a\nd c/d\nl c/e d/../../a")
	f.Fuzz(func(t *testing.T, text string) {
		img := goodImage()
		for _, l := range EntryLinks() {
			img.dropLabel(l.Label)
		}
		img.Entries = entriesOfText(text)
		img.list()
		v := Check(img)
		if again := found(Check(img)); again != found(v) {
			t.Errorf("%q and %q", found(v), again)
		}
		if FirstError(v) != nil || strings.Count(text, "\n") > 50 {
			return
		}
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		root := filepath.Join(dir, "in", "tree")
		writeEntries(t, root, img.Entries)
		for _, e := range img.Entries {
			p := filepath.Join(root, e.Path)
			real, err := filepath.EvalSymlinks(p)
			if err != nil || real != root && !strings.HasPrefix(real, root+"/") {
				t.Errorf("%v is %q, %v", e, real, err)
			}
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
			t.Errorf("outside the tree: %q", names)
		}
	})
}

func writeEntries(t *testing.T, root string, entries []Entry) {
	t.Helper()
	for _, e := range entries {
		p := filepath.Join(root, e.Path)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		if err == nil {
			switch e.Type {
			case TypeDir:
				err = os.MkdirAll(p, 0o755)
			case TypeFile:
				err = os.WriteFile(p, []byte(e.Path), 0o644)
			case TypeSymlink:
				err = os.Symlink(e.Target, p)
			case TypeHardlink:
				err = os.Link(filepath.Join(root, e.Target), p)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
