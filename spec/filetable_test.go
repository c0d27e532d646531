package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParseFileTable(t *testing.T) {
	file := func(path string, offset, end int64) string {
		return fmt.Sprintf(`{"path":%q,"offset":%d,"end":%d}`, path, offset, end)
	}
	table := func(files ...string) string {
		return `{"version":1,"files":[` + strings.Join(files, ",") + `]}`
	}
	for _, text := range []string{
		table(), `{"version":1}`, table(file("a", 0, 100)), table(file("a", 5, 10), file("b/c", 10, 20)),
		table(file("a", 5, 10), file("empty", 0, 0), file("b", 12, 20), file("e2", 100, 100)),
		`{"version":1,"later":{},"files":[{"path":"a","offset":0,"end":1,"size":7}]}`,
		`{"version":1,"files":[],"tarSplitDigest":"sha256:` + strings.Repeat("0", 64) + `"}`,
	} {
		if _, err := ParseFileTable([]byte(text), 100); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		``, `[]`, `{}`, `{"version":2,"files":[]}`, `{"Version":1,"files":[]}`, `{"version":1,"files":[],"files":[]}`, table() + "x",
		table(file("../a", 0, 1)), table(file("", 0, 1)), table(file("./a", 0, 1)), table(file(".nbextract", 0, 1)),
		table(file("a", 0, 101)), table(file("a", -1, 1)), table(file("a", 2, 1)), table(file("a", 101, 101)), table(file("a", math.MaxInt64, math.MinInt64)),
		table(file("a", 0, 10), file("b", 9, 20)), table(file("a", 10, 20), file("b", 0, 10)), table(file("a", 0, 10), file("b", 0, 10)),
		table(file("a", 0, 1), file("a", 1, 2)), table(file("a", 0, 1), file("A", 1, 2)),
		`{"version":1,"files":[],"tarSplitDigest":"sha256:0"}`, `{"version":1,"files":[],"tarSplitDigest":"md5:` + strings.Repeat("0", 32) + `"}`,
		table(`{"path":"a","offset":0.5,"end":1}`), table(`{"path":"a","offset":"0","end":1}`),
	} {
		got, err := ParseFileTable([]byte(text), 100)
		if got != nil {
			t.Errorf("%s: accepted", text)
		}
		wantRule(t, err, RuleFileTable)
	}
	_, err := ParseFileTable(make([]byte, MaxFileTableSize+1), 100)
	wantRule(t, err, RuleDocumentSize)
	_, err = ParseFileTable([]byte(table(slices.Repeat([]string{`{}`}, MaxEntries+1)...)), 100)
	wantRule(t, err, RuleFileTable)
}

func TestParseFileTablePosition(t *testing.T) {
	p, err := ParseFileTablePosition("10:90:200", 100)
	if err != nil || p != (FileTablePosition{10, 90, 200}) || p.String() != "10:90:200" {
		t.Errorf("got %v, %v", p, err)
	}
	for _, s := range []string{
		"", "1:2", "1:2:3:4", "-1:2:3", "1:-2:3", "+1:2:3", "01:2:3", " 1:2:3", "1:2:x", "11:90:1", "101:0:0", "0:101:1",
		"9223372036854775807:1:1", "9223372036854775808:1:1", "1:9223372036854775807:1",
		fmt.Sprintf("0:1:%d", MaxFileTableSize+1),
	} {
		_, err := ParseFileTablePosition(s, 100)
		wantRule(t, err, RuleFileTable)
	}
}

func FuzzParseFileTable(f *testing.F) {
	f.Add([]byte(`{"version":1,"files":[{"path":"a","offset":1,"end":2},{"path":"b","offset":2,"end":9}]}`), int64(10))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		table, err := ParseFileTable(b, size)
		if err != nil {
			return
		}
		var total int64
		for _, e := range table.Files {
			if !safePath(e.Path) || e.Offset < 0 || e.End < e.Offset || e.End > size {
				t.Errorf("accepted %v", e)
			}
			total += e.End - e.Offset
		}
		if total < 0 || total > max(size, 0) {
			t.Errorf("%d bytes of a blob of %d", total, size)
		}
		text, err := json.Marshal(table)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseFileTable(text, size); err != nil {
			t.Errorf("what was written is refused: %v", err)
		}
	})
}

func FuzzParseFileTablePosition(f *testing.F) {
	f.Add("1:2:3", int64(10))
	f.Fuzz(func(t *testing.T, s string, size int64) {
		p, err := ParseFileTablePosition(s, size)
		if err != nil {
			return
		}
		if p.Offset < 0 || p.Length < 0 || p.Uncompressed < 0 || p.Offset+p.Length > size || p.Offset+p.Length < 0 {
			t.Errorf("accepted %v for %d bytes", p, size)
		}
		if p.String() != s {
			t.Errorf("%q is written as %q", s, p)
		}
	})
}
