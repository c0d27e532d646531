package ociindex

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzEdit: whatever the index was, an edit changes one entry or annotation,
// and what it says parses to what was asked for.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{
		index(`[]`), index(`null`), index(`[` + foreign + `]`), index("[\r\n  " + foreign + " ,\r\n  {}\r\n]"),
		`{"a":[{}],"manif\u0065sts":[ {"annotations":{"k":null}} , {} ] ,"annotations":{ "k" :"w"} }`,
		"{\n  \"manifests\": [\n    {\n      \"size\": 1\n    }\n  ],\n  \"annotations\": null\n}\n",
	} {
		f.Add(s, uint8(0), uint8(1), "k", "v")
	}
	f.Fuzz(func(t *testing.T, in string, at, what uint8, key, value string) {
		d, err := Parse([]byte(in))
		if err != nil {
			return
		}
		if !bytes.Equal(d.Bytes(), []byte(in)) {
			t.Fatal("parsing changed the bytes")
		}
		n := d.Len()
		if what%4 == 3 {
			checkAnnotate(t, d, strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?"))
			return
		}
		i := int(at) % (n + 1)
		switch {
		case what%4 == 0:
			after, err := d.Insert(i, entry())
			if err != nil {
				t.Fatal(err)
			}
			checkAround(t, d, after, i, i, i+1)
		case i == n:
		case what%4 == 1:
			after, err := d.Replace(i, entry())
			if err != nil {
				t.Fatal(err)
			}
			checkAround(t, d, after, i, i+1, i+1)
		default:
			after, err := d.Remove(i)
			if err != nil {
				t.Fatal(err)
			}
			checkAround(t, d, after, i, i+1, i)
			_, raw := d.Entry(i)
			if back, err := after.InsertRaw(i, raw); err != nil || back.Len() != n {
				t.Fatalf("put back: %v", err)
			}
		}
	})
}

// checkAround compares the entries before i and behind it: old entries from
// oldNext on are new ones from newNext on. If there is one at i, it is ours.
func checkAround(t *testing.T, before, after *Document, i, oldNext, newNext int) {
	t.Helper()
	if after.Len()-newNext != before.Len()-oldNext {
		t.Fatalf("%d entries became %d", before.Len(), after.Len())
	}
	same := func(o, n int) {
		_, a := before.Entry(o)
		_, b := after.Entry(n)
		if !bytes.Equal(a, b) {
			t.Fatalf("entry %d became\n%s, it was\n%s", o, b, a)
		}
	}
	for k := range i {
		same(k, k)
	}
	for k := range before.Len() - oldNext {
		same(oldNext+k, newNext+k)
	}
	if newNext > i {
		if got, _ := after.Entry(i); mustJSON(t, got) != mustJSON(t, entry()) {
			t.Fatalf("entry %d is %v", i, got)
		}
	}
	// Outside of the list nothing moved.
	a, b := before.raw, after.raw
	if !bytes.Equal(a[:before.list.from], b[:after.list.from]) || !bytes.Equal(a[before.list.to:], b[after.list.to:]) {
		t.Fatalf("bytes around the list were changed:\n%s\n%s", a, b)
	}
	// And inside of it only one stretch was taken out, one put in.
	pre, post := commonEnds(a, b)
	gone, come := a[pre:len(a)-post], b[pre:len(b)-post]
	if oldNext == i && len(bytes.Trim(gone, space)) > 0 && string(bytes.Trim(gone, space)) != "null" {
		t.Fatalf("an insertion removed %q", gone)
	}
	if newNext == i && len(come) > 0 {
		t.Fatalf("a removal added %q", come)
	}
}

func commonEnds(a, b []byte) (pre, post int) {
	for pre < len(a) && pre < len(b) && a[pre] == b[pre] {
		pre++
	}
	for post < len(a)-pre && post < len(b)-pre && a[len(a)-1-post] == b[len(b)-1-post] {
		post++
	}
	return pre, post
}

func checkAnnotate(t *testing.T, before *Document, key, value string) {
	t.Helper()
	after, err := before.Annotate(key, value)
	if err != nil {
		t.Fatal(err)
	}
	want := before.Index()
	if want.Annotations == nil {
		want.Annotations = map[string]string{}
	}
	want.Annotations[key] = value
	if mustJSON(t, after.Index()) != mustJSON(t, want) {
		t.Fatalf("got %s\nfrom %s", after.Bytes(), before.Bytes())
	}
	for i := range before.Len() {
		_, a := before.Entry(i)
		_, b := after.Entry(i)
		if !bytes.Equal(a, b) {
			t.Fatalf("entry %d changed", i)
		}
	}
	if again, err := after.Annotate(key, value); err != nil || again != after {
		t.Fatalf("the same again changes something: %v", err)
	}
}
