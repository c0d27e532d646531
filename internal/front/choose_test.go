package front

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func upMirrors(t testing.TB, text string, has ...digest.Digest) []*mirror {
	var all []*mirror
	for _, m := range parse(t, text).Mirrors {
		one := newMirror(m)
		one.become(stateUp, "", time.Now())
		for _, d := range has {
			one.note(d, true)
		}
		all = append(all, one)
	}
	return all
}

func namesOf(all []*mirror) (names []string) {
	for _, m := range all {
		names = append(names, m.Name)
	}
	return names
}

func TestChoose(t *testing.T) {
	d := digest.FromString("x")
	all := upMirrors(t, `mirrors:
- {name: campus, url: "https://a.example", networks: [192.0.2.0/24, "2001:db8:1::/48"]}
- {name: country, url: "https://b.example", networks: [192.0.0.0/8, "2001:db8::/32"]}
- {name: inside, url: "https://c.example", networks: [10.0.0.0/8], private: true}
- {name: world, url: "https://d.example"}
`, d)
	for client, want := range map[string][]string{
		"192.0.2.7":      {"campus", "country", "world"},
		"192.9.9.9":      {"country"},
		"2001:db8:1::1":  {"campus", "country", "world"},
		"10.1.2.3":       {"inside"},
		"198.51.100.1":   nil,
		"::ffff:1.2.3.4": nil,
	} {
		got := namesOf(choose(all, netip.MustParseAddr(client), d))
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("%s: %q, want %q first", client, got, want)
		}
		if private := slices.Contains(got, "inside"); private != (client == "10.1.2.3") {
			t.Errorf("%s: %q", client, got)
		}
		for range 5 {
			if again := namesOf(choose(all, netip.MustParseAddr(client), d)); !slices.Equal(again, got) {
				t.Errorf("%s: %q, then %q", client, got, again)
			}
		}
	}
	if got := choose(all, netip.MustParseAddr("192.0.2.7"), digest.FromString("y")); len(got) != 0 {
		t.Errorf("who does not have it: %q", namesOf(got))
	}
	all[0].become(stateDown, "", time.Now())
	if got := namesOf(choose(all, netip.MustParseAddr("192.0.2.7"), d)); got[0] != "country" {
		t.Errorf("one is down: %q", got)
	}
	if got := choose(all, netip.Addr{}, d); len(got) != 2 {
		t.Errorf("a client without an address: %q", namesOf(got))
	}
}

// TestWeights: each gets its share, and who goes away moves nobody else's clients.
func TestWeights(t *testing.T) {
	d := digest.FromString("x")
	all := upMirrors(t, `mirrors:
- {name: a, url: "https://a.example", weight: 100}
- {name: b, url: "https://b.example", weight: 300}
- {name: c, url: "https://c.example", weight: 600}
`, d)
	const clients = 10_000
	first := func() (out []string) {
		for i := range clients {
			out = append(out, choose(all, netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)}), d)[0].Name)
		}
		return out
	}
	before, counts := first(), map[string]int{}
	for _, name := range before {
		counts[name]++
	}
	for name, want := range map[string]int{"a": clients / 10, "b": clients * 3 / 10, "c": clients * 6 / 10} {
		if n := counts[name]; n < want*9/10 || n > want*11/10 {
			t.Errorf("%s gets %d of %d, want about %d", name, n, clients, want)
		}
	}
	all[2].become(stateDown, "", time.Now())
	for i, name := range first() {
		if before[i] != "c" && name != before[i] {
			t.Fatal("a client moved without need")
		}
	}
}

func TestTurn(t *testing.T) {
	m := memory{asked: map[question]answer{}}
	now := time.Unix(1e9, 0)
	q := question{netip.MustParseAddr("192.0.2.1"), digest.FromString("x")}
	for i, step := range []struct {
		part string
		wait time.Duration
		want int
	}{
		{"", 0, 0},
		{"", time.Second, 1},
		{"bytes=5-", time.Second, 1}, // it goes on there
		{"bytes=5-", time.Second, 2},
		{"bytes=9-", time.Second, 2},
		{"", time.Hour, 0},
		{"", time.Second, 1},
	} {
		now = now.Add(step.wait)
		if got := m.turn(q, step.part, now); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	for i := range 3 * maxAsked {
		m.turn(question{netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), q.blob}, "", now)
	}
	if len(m.asked) > maxAsked {
		t.Errorf("%d questions are remembered", len(m.asked))
	}
}
