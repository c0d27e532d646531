package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// figures are what one run of a command cost.
type figures struct {
	wall     time.Duration
	settled  time.Duration // until what was written is on the disk, too
	cpu      time.Duration
	rss      int64 // KiB of the largest process
	requests int64 // -1: it does not speak HTTP
	bytes    int64 // of bodies, or as rsync counts
}

// run measures a line of shell. What it may use stands in its environment.
func (s *stand) run(ctx context.Context, line, place string, env ...string) (f figures, err error) {
	if err := exec.CommandContext(ctx, "sync").Run(); err != nil { // others' writes are not its concern
		return f, fmt.Errorf("sync: %w", err)
	}
	s.proxy.take()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = append(append(os.Environ(), "BIN="+s.opts.bin, "HOST="+s.host, "RSYNC="+s.rsync), env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &output, &output
	start := time.Now()
	err = cmd.Run()
	f.wall = time.Since(start)
	if err != nil {
		return f, fmt.Errorf("%s: %w\n%s", line, err, tail(output.String()))
	}
	if err := exec.CommandContext(ctx, "sync", "-f", place).Run(); err != nil {
		return f, fmt.Errorf("sync %q: %w", place, err)
	}
	f.settled = time.Since(start)
	f.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	f.rss = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	f.requests, f.bytes = s.proxy.take()
	if m := rsyncBytes.FindStringSubmatch(output.String()); m != nil {
		f.requests = -1
		f.bytes, err = strconv.ParseInt(strings.ReplaceAll(m[1], ",", ""), 10, 64)
	}
	return f, err
}

// rsyncBytes finds what rsync --stats says that came over the network.
var rsyncBytes = regexp.MustCompile(`Total bytes received: ([0-9,]+)`)

func tail(s string) string {
	const most = 600
	return s[max(0, len(s)-most):]
}

// median takes each figure by itself.
func median(all []figures) figures {
	return figures{
		wall:     middle(all, func(f figures) time.Duration { return f.wall }),
		settled:  middle(all, func(f figures) time.Duration { return f.settled }),
		cpu:      middle(all, func(f figures) time.Duration { return f.cpu }),
		rss:      middle(all, func(f figures) int64 { return f.rss }),
		requests: middle(all, func(f figures) int64 { return f.requests }),
		bytes:    middle(all, func(f figures) int64 { return f.bytes }),
	}
}

func middle[T time.Duration | int64](all []figures, of func(figures) T) T {
	var values []T
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// same compares what a tool laid out with the tree that was packed.
func same(ctx context.Context, tree, place string) error {
	names, err := filepath.Glob(filepath.Join(tree, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		out, err := exec.CommandContext(ctx, "cmp", name, filepath.Join(place, filepath.Base(name))).CombinedOutput()
		if err != nil {
			return fmt.Errorf("it laid out something else: %s", out)
		}
	}
	return nil
}
