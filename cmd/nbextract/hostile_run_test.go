package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/cli"
)

const (
	memoryLimit = 128 << 20
	diskSlack   = 64 << 20 // what may be written beyond what the image declares

	childArgs = "NBEXTRACT_HOSTILE_ARGS" // JSON list: run this instead of tests
	childFile = "NBEXTRACT_HOSTILE_FILE" // where the process writes its usage
)

// result is what a run leaves for its caller.
type result struct {
	code           int
	stdout, stderr string
}

// runHere runs the command in this process.
func runHere(t *testing.T, args ...string) result {
	t.Helper()
	// Not a measurement: a read that waits for a fifo must end the test.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- cli.Run(ctx, app(), args, &stdout, &stderr) }()
	select {
	case code := <-done:
		return result{code: code, stdout: stdout.String(), stderr: stderr.String()}
	case <-ctx.Done():
		t.Fatalf("%q waits", args)
		return result{}
	}
}

// usage is what a process of its own says about itself. The exit status of a
// process would tell its memory too, but on Linux that counts what its parent
// used before the exec.
type usage struct {
	Memory  int64 // largest resident set, bytes
	Written int64 // bytes given to write calls: no less than the disk it used
	Read    int64 // bytes that read calls gave, also those from the page cache
}

// TestHostileChild is not a test: it is the process that runMeasured starts.
func TestHostileChild(t *testing.T) {
	var args []string
	if json.Unmarshal([]byte(os.Getenv(childArgs)), &args) != nil {
		t.Skip("only within TestHostile")
	}
	code := cli.Run(context.Background(), app(), args, os.Stdout, os.Stderr)
	u := usage{
		Memory:  procValue("/proc/self/status", "VmHWM:") << 10,
		Written: procValue("/proc/self/io", "wchar:"),
		Read:    procValue("/proc/self/io", "rchar:"),
	}
	body, err := json.Marshal(u)
	if err == nil {
		err = os.WriteFile(os.Getenv(childFile), body, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	os.Exit(code)
}

// procValue reads a number from a file of lines "name number", or gives 0.
func procValue(file, name string) int64 {
	body, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut("\n"+string(body), "\n"+name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n
}

// runMeasured runs the command in a process of its own and holds it to the
// bounds on memory and on what it writes.
func runMeasured(t *testing.T, declared int64, args ...string) result {
	t.Helper()
	r, u := measure(t, args...)
	if u.Memory > memoryLimit && !raceDetector() {
		t.Errorf("%d MiB of memory, limit %d", u.Memory>>20, memoryLimit>>20)
	}
	if r.code != 0 && u.Written > declared+diskSlack {
		t.Errorf("%d MiB written, %d declared", u.Written>>20, declared>>20)
	}
	t.Logf("exit %d, %d MiB of memory, %d MiB written", r.code, u.Memory>>20, u.Written>>20)
	return r
}

// measure runs the command in a process of its own.
func measure(t *testing.T, args ...string) (result, usage) {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "usage")
	// Not a measurement: see runHere.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHostileChild$")
	cmd.Env = append(os.Environ(), childArgs+"="+string(list), childFile+"="+file)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	r := result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	body, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatalf("%q did not come to its end: %v\n%s", args, err, r.stderr)
	}
	var u usage
	if err := json.Unmarshal(body, &u); err != nil {
		t.Fatal(err)
	}
	return r, u
}

// raceDetector tells whether memory is worth measuring.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// declared is how many bytes the layers of a manifest may become: what their
// annotations say, or what the format grants to a layer without one.
func declared(manifest string) int64 {
	info, err := os.Stat(manifest)
	if err != nil || info.Size() > 4<<20 {
		return 0
	}
	body, err := os.ReadFile(manifest)
	if err != nil {
		return 0
	}
	var m struct {
		Layers []struct {
			Size        int64
			Annotations map[string]string
		}
	}
	if json.Unmarshal(body, &m) != nil {
		return 0
	}
	var sum int64
	for _, l := range m.Layers {
		bound, err := strconv.ParseInt(l.Annotations["org.pulpproject.netboot.layer.size"], 10, 64)
		if err != nil {
			bound = 64 * min(max(l.Size, 0), 1<<40)
		}
		sum += bound
	}
	return sum
}
