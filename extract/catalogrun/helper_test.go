package catalogrun

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/internal/transport"
)

// syncer runs catalogues over one boot directory, with a clock of its own.
type syncer struct {
	t      *testing.T
	dir    string
	opts   Options
	now    time.Time
	warned []string
	client func(*transport.Options) // changes how the network is used; nil: not at all
}

func newSyncer(t *testing.T) *syncer {
	return &syncer{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// run does one run over a catalogue, in which DIR stands for the directory.
func (s *syncer) run(text string) (*Report, error) {
	s.t.Helper()
	c, entries, err := catalog.Parse("c.yaml", "test", []byte("destination: "+s.dir+"\nimages:\n"+text))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.runCatalog(c, entries)
}

func (s *syncer) runCatalog(c *catalog.Catalog, entries []catalog.Entry) (*Report, error) {
	s.t.Helper()
	s.warned = nil
	insecure := false
	network := transport.Options{
		TLSVerify: &insecure, Mirrors: c.Mirrors, PreferHTTP: func(string) bool { return true },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	if s.client != nil {
		s.client(&network)
	}
	client, err := transport.NewClient(network)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	o := s.opts
	o.Now = func() time.Time { return s.now }
	o.Client = func(*bool) (*transport.Client, error) { return client, nil }
	o.Warn = func(format string, a ...any) { s.warned = append(s.warned, fmt.Sprintf(format, a...)) }
	return Run(s.t.Context(), c, entries, o)
}

// must is run for runs in which nothing may fail.
func (s *syncer) must(text string) *Report {
	s.t.Helper()
	r, err := s.run(text)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.warned, "\n"))
	}
	return r
}

// damaged tells whether a look at trees found something.
func damaged(list []extract.TreeStatus) bool {
	return slices.ContainsFunc(list, func(s extract.TreeStatus) bool { return len(s.Problems) > 0 })
}

// pullByHand brings the trees of one reference of a shelf up to date without a catalogue.
func pullByHand(t *testing.T, dir string, reg *testshelf.Shelf, name string) {
	t.Helper()
	c, ref := reg.Client(t, name)
	if _, err := extract.Pull(t.Context(), c, []transport.Reference{ref}, extract.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
}
