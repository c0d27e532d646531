package blobmirror

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := NewHealth(nil)
	h.now = func() time.Time { return now }
	h.Failed("m")
	if h.Usable("m") {
		t.Error("usable after a failure")
	}
	now = now.Add(firstRest)
	if !h.Usable("m") {
		t.Error("not usable after its rest")
	}
	for range 100 {
		h.Failed("m")
	}
	now = now.Add(maxRest)
	if !h.Usable("m") {
		t.Error("rests for too long")
	}
	h.Failed("m")
	now = now.Add(-1000 * time.Hour)
	if !h.Usable("m") {
		t.Error("a clock that was set back keeps it away")
	}
	if !h.Wrong("m") || h.Wrong("m") || !h.Lied("m", "") {
		t.Error("wrong content is not noted once")
	}
	states, _ := h.States()
	later := NewHealth(states)
	later.now = h.now
	if !later.Lied("m", "") {
		t.Error("a later run asks it")
	}
	later.Answered("m", time.Second)
	if !later.Lied("m", "") {
		t.Error("it is asked again because it answers")
	}
	now = now.Add(wrongRest)
	if later.Lied("m", "") || !h.Lied("m", "") {
		t.Error("no later run ever asks it again, or this one does")
	}
	now = now.Add(forget + time.Hour)
	if states, _ := h.States(); len(states) != 0 {
		t.Errorf("%+v", states)
	}
}

func TestNearest(t *testing.T) {
	h := NewHealth(nil)
	var all []Mirror
	for i, took := range []time.Duration{time.Second, 0, time.Millisecond, 3 * time.Second} {
		m, err := Parse(fmt.Sprintf("https://m%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, m); took > 0 {
			h.Answered(m.String(), took)
		}
	}
	for range 20 { // smoothed
		h.Answered(all[3].String(), time.Microsecond)
	}
	if got := h.Unmeasured(all); len(got) != 1 || got[0] != all[1] {
		t.Errorf("not measured: %v", got)
	}
	h.Failed(all[1].String())
	if got := h.Unmeasured(all); len(got) != 0 {
		t.Errorf("measured while it rests: %v", got)
	}
	got := slices.Clone(all)
	h.Nearest(got)
	if want := []Mirror{all[2], all[0], all[1]}; !slices.Equal(slices.DeleteFunc(got, func(m Mirror) bool { return m == all[3] }), want) {
		t.Errorf("%v", got)
	}
}
