package catalogrun

import (
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestRecall: what is known of trees is completed by what runs over their catalogue
// remember, and not by what one over another remembers.
func TestRecall(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	for _, tag := range []string{"1", "2", "3"} {
		reg.Push("a", tag, testshelf.Boot{Version: tag})
	}
	ref := func(tag string) string { return "- {ref: '" + reg.Host() + "/a:" + tag + "'}\n" }
	s.must(ref("1") + ref("2"))
	pullByHand(t, s.dir, reg, "a:3")
	first := s.now
	s.now = s.now.Add(time.Hour)
	reg.Push("a", "2", testshelf.Boot{Version: "2", Files: map[string]string{"../x": "escape"}})
	if _, err := s.run(ref("1") + ref("2")); err == nil {
		t.Fatal("what escapes is accepted")
	}
	list, err := extract.Status(t.Context(), s.dir)
	if err != nil || len(list) != 3 {
		t.Fatalf("%v %+v", err, list)
	}
	state, err := ReadState(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	state.Recall(list)
	if x := list[0]; !x.Succeeded.Equal(s.now) || x.Error != "" || !x.FailingSince.IsZero() {
		t.Errorf("%+v", x)
	}
	if x := list[1]; !x.Succeeded.Equal(first) || x.Error == "" || !x.FailingSince.Equal(s.now) {
		t.Errorf("%+v", x)
	}
	if x := list[2]; !x.Succeeded.IsZero() || x.Error != "" {
		t.Errorf("pulled by hand: %+v", x)
	}
	list[0].Catalog = "another"
	list[0].Succeeded = time.Time{}
	if state.Recall(list[:1]); !list[0].Succeeded.IsZero() {
		t.Errorf("%+v", list[0])
	}
}
