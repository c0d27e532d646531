package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// live is the tag that moves from version to version.
const live = "live"

// tag names a version in every repository.
func tag(version int) string { return fmt.Sprintf("v%d", version+1) }

// runPack measures one packing of a tree into a repository.
func (s *stand) runPack(ctx context.Context, p peer, repo, tree, tag string) (figures, error) {
	tmp := filepath.Join(s.dir, "tmp")
	if err := renew(tmp); err != nil {
		return figures{}, err
	}
	return s.run(ctx, p.pack, tmp, "TREE="+tree, "REPO="+repo, "TAG="+tag, "TMP="+tmp, "SELF="+self())
}

// runPull measures one run that brings a directory up to the tag live, by a line of p.
func (s *stand) runPull(ctx context.Context, p peer, line, version string) (figures, error) {
	from := p.from
	if from == "" {
		from = p.name
	}
	return s.run(ctx, line, s.dest(p), "REPO="+repo(from), "TAG="+live, "VERSION="+version,
		"DEST="+s.dest(p), "LAYOUT="+s.dest(p)+".layout", "SELF="+self())
}

func self() string {
	name, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return name
}

func renew(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// pack measures how the first version gets into an empty registry.
func (s *stand) pack(ctx context.Context) (string, error) {
	t := newTable("packing into an empty repository", "floor")
	peers := s.present(func(p peer) bool { return p.pack != "" && p.name != "raw" })
	for round := range s.rounds() {
		for _, p := range peers {
			f, err := s.runPack(ctx, p, fmt.Sprintf("%s-%d", repo(p.name), round), s.trees[0], tag(0))
			t.add(round, p.name, f, err)
			s.said(p.name, f, err)
		}
	}
	return t.markdown(), ctx.Err()
}

// pull measures a first pull, one that finds nothing new, and two updates.
func (s *stand) pull(ctx context.Context) (string, error) {
	for _, p := range s.present(func(p peer) bool {
		return p.pack != "" && !strings.Contains(p.pack, "$TMP/layout") && !strings.HasPrefix(p.name, "floor")
	}) {
		for v, tree := range s.trees {
			if _, err := s.runPack(ctx, p, repo(p.name), tree, tag(v)); err != nil {
				return "", err
			}
		}
	}
	peers := s.present(func(p peer) bool { return p.pull != "" })
	stages := []struct {
		table   *table
		version int
		again   bool // nothing is new, and it can be done again
	}{
		{newTable("a first pull of "+s.opts.versions[0], "floor"), 0, false},
		{newTable("nothing changed", "floor"), 0, true},
		{newTable("the update to "+s.opts.versions[1], "rsync -a"), 1, false},
		{newTable("the update to "+s.opts.versions[2], "rsync -a"), 2, false},
	}
	failed := map[string]bool{}
	for round := range s.rounds() {
		for _, p := range peers {
			for _, dir := range []string{s.dest(p), s.dest(p) + ".layout"} {
				if err := renew(dir); err != nil {
					return "", err
				}
			}
		}
		for _, stage := range stages {
			for _, p := range peers {
				if failed[p.name] {
					continue
				}
				line := p.pull
				if stage.again && p.again != "" {
					line = p.again
				}
				f, err := s.stagePull(ctx, p, line, stage.version, round == 0)
				if err == nil && stage.again && round > 0 {
					f, err = s.often(ctx, p, line, s.opts.versions[stage.version], f)
				}
				failed[p.name] = err != nil
				stage.table.add(round, p.name, f, err)
				s.said(p.name, f, err)
			}
		}
	}
	var all []string
	for _, stage := range stages {
		all = append(all, stage.table.markdown())
	}
	return strings.Join(all, "\n"), ctx.Err()
}

// stagePull moves the tag and pulls; the first round looks at the result.
func (s *stand) stagePull(ctx context.Context, p peer, line string, version int, look bool) (figures, error) {
	from := p.from
	if from == "" {
		from = p.name
	}
	if strings.Contains(p.pull, "$RSYNC") {
		if err := warmTree(s.trees[version]); err != nil {
			return figures{}, err
		}
	} else {
		if err := s.move(ctx, repo(from), tag(version), live); err != nil {
			return figures{}, err
		}
		if err := s.warm(ctx, repo(from), live); err != nil {
			return figures{}, err
		}
	}
	f, err := s.runPull(ctx, p, line, s.opts.versions[version])
	if err == nil && look {
		err = same(ctx, s.trees[version], filepath.Join(s.dest(p), p.at))
	}
	return f, err
}

// A command that is over in less than shortRun is run so many times, and the medians
// count: of a few milliseconds, one run tells mostly what the machine did before.
const (
	shortRun  = 200 * time.Millisecond
	shortRuns = 11
)

// often repeats a pull that changes nothing, if it is a short one; first is what it took.
func (s *stand) often(ctx context.Context, p peer, line, version string, first figures) (figures, error) {
	all := []figures{first}
	for first.wall < shortRun && len(all) < shortRuns {
		f, err := s.runPull(ctx, p, line, version)
		if err != nil {
			return f, err
		}
		all = append(all, f)
	}
	return median(all), nil
}

// small measures what a change of 30 bytes beside a large image costs.
func (s *stand) small(ctx context.Context) (string, error) {
	t := newTable("another file of 30 bytes", "")
	peers := s.present(func(p peer) bool { return p.name == "nbpack, nbextract" || p.name == "rsync -a" })
	for round := range s.rounds() {
		for _, p := range peers {
			if err := renew(s.dest(p)); err != nil {
				return "", err
			}
			f, err := s.twoPulls(ctx, p)
			t.add(round, p.name, f, err)
			s.said(p.name, f, err)
		}
	}
	return t.markdown(), ctx.Err()
}

// twoPulls measures the second one.
func (s *stand) twoPulls(ctx context.Context, p peer) (f figures, err error) {
	for n := range 2 {
		tree, err := s.withConfig(n)
		if err != nil {
			return f, err
		}
		if p.pack != "" {
			if _, err := s.runPack(ctx, p, repo(p.name), tree, live); err != nil {
				return f, err
			}
		}
		if f, err = s.runPull(ctx, p, p.pull, filepath.Base(tree)); err != nil {
			return f, err
		}
	}
	return f, nil
}

// large measures time and memory for one file that does not compress.
func (s *stand) large(ctx context.Context) (string, error) {
	var all []string
	for _, mib := range []int64{s.opts.largeMiB / 4, s.opts.largeMiB} {
		tree := filepath.Join(s.dir, "large")
		if err := renew(tree); err != nil {
			return "", err
		}
		if err := random(filepath.Join(tree, "install.img"), mib<<20); err != nil {
			return "", err
		}
		t := newTable(fmt.Sprintf("one file of %d MiB", mib), "")
		for _, p := range s.present(func(p peer) bool { return p.name == "nbpack, nbextract" }) {
			f, err := s.runPack(ctx, p, repo(p.name), tree, live)
			t.once("nbpack build", f, err)
			s.said("nbpack build", f, err)
			if err == nil {
				if err = renew(s.dest(p)); err != nil {
					return "", err
				}
				f, err = s.runPull(ctx, p, p.pull, "")
				t.once("nbextract pull", f, err)
				s.said("nbextract pull", f, err)
			}
			if err = renew(s.dest(p)); err != nil {
				return "", err
			}
		}
		all = append(all, t.markdown())
	}
	return strings.Join(all, "\n"), renew(filepath.Join(s.dir, "large"))
}

func (s *stand) said(name string, f figures, err error) {
	if err != nil {
		s.env.Warn("%s: %v", name, err)
		return
	}
	s.env.Info("%-28s %6.2f s, %6.2f s settled, %6.2f s cpu, %4d MiB, %3d requests, %8.3f MB",
		name, f.wall.Seconds(), f.settled.Seconds(), f.cpu.Seconds(), f.rss>>10, f.requests, float64(f.bytes)/1e6)
}
