package hooks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/testneed"
)

// shell is a program that a site wrote as a shell on purpose.
func shell(script string) Program { return Program{Argv: []string{"/bin/sh", "-c", script}} }

// run gives what the program printed.
func run(t *testing.T, p Program, facts map[string]string) ([]string, error) {
	t.Helper()
	var said []string
	p.Output = func(line string) { said = append(said, line) }
	err := p.Run(t.Context(), facts)
	return said, err
}

func TestFactsAreData(t *testing.T) {
	t.Setenv("NBEXTRACT_STALE", "of an outer run")
	t.Setenv("SITE", "stays")
	evil := "$(touch x); `id` \"'\n\x00 * "
	said, err := run(t, shell(`printf '[%s]\n' "$NBEXTRACT_PATH" "$NBEXTRACT_STALE" "$SITE"; echo $0 $#`), map[string]string{"PATH": evil})
	want := []string{"[" + strings.Split(evil, "\n")[0], strings.ReplaceAll(strings.Split(evil, "\n")[1], "\x00", "\uFFFD") + "]", "[]", "[stays]", "/bin/sh 0"}
	if err != nil || !slices.Equal(said, want) {
		t.Errorf("%q, %v\nwant %q", said, err, want)
	}
}

// Arguments reach the program as they are: nothing expands them.
func TestNoShell(t *testing.T) {
	argv := []string{"/usr/bin/printf", "%s\n", "$HOME", "*", "a b", ";exit 7"}
	said, err := run(t, Program{Argv: argv}, nil)
	if err != nil || !slices.Equal(said, argv[2:]) {
		t.Errorf("%q, %v", said, err)
	}
}

func TestEnvironment(t *testing.T) {
	long := strings.Repeat("ä", maxFact)
	env := environment([]string{"A=1", "NBEXTRACT_X=old"}, map[string]string{"Y": "2", "B": long})
	if len(env) != 3 || env[0] != "A=1" || env[2] != "NBEXTRACT_Y=2" || len(env[1]) > maxFact+20 || !strings.HasSuffix(env[1], "ä…") {
		t.Errorf("%.60q", env)
	}
	if err := (Program{Argv: []string{"/bin/true"}}).Run(t.Context(), map[string]string{"B": long}); err != nil {
		t.Error(err)
	}
}

func TestFailures(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		p    Program
		want string
	}{
		{"exit code", shell("echo one; echo two >&2; exit 7"), `"/bin/sh" ended with exit status 7: "two"`},
		{"silent", shell("exit 1"), `"/bin/sh" ended with exit status 1`},
		{"escape sequences", shell(`printf 'a\033[2Jb\n\n'; exit 1`), `"/bin/sh" ended with exit status 1: "a\x1b[2Jb"`},
		{"signal", shell("kill -9 $$"), `"/bin/sh" ended with signal: killed`},
		{"missing", Program{Argv: []string{plain + "x"}}, strconv.Quote(plain+"x") + " does not start: no such file or directory"},
		{"not executable", Program{Argv: []string{plain}}, strconv.Quote(plain) + " does not start: permission denied"},
		{"directory", Program{Argv: []string{filepath.Dir(plain)}}, "permission denied"},
		{"time", Program{Argv: []string{"/bin/sleep", "1000"}, Timeout: time.Millisecond}, `"/bin/sleep" was stopped after 1ms`},
	} {
		err := tt.p.Run(t.Context(), nil)
		var e *Error
		if !errors.As(err, &e) || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	var exit *exec.ExitError
	if err := shell("exit 3").Run(t.Context(), nil); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("%v", err)
	}
}

// What the program left behind dies with it: here a child that would write for
// ever into the pipe that Run reads.
func TestStragglersAreKilled(t *testing.T) {
	said, err := run(t, shell(`sleep 1000 & echo $!`), nil)
	if err != nil || len(said) != 1 {
		t.Fatal(said, err)
	}
	gone(t, said[0])
}

// A group that does not want to end is killed, when the context ends and when
// the time is over.
func TestStubbornGroupIsKilled(t *testing.T) {
	const script = `trap '' TERM; sh -c 'trap "" TERM; echo $$; while :; do sleep 1000; done'`
	for _, cancelled := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		p := shell(script)
		p.grace = time.Millisecond
		var pid string
		p.Output = func(line string) {
			pid = line
			if cancelled {
				cancel()
			}
		}
		if !cancelled {
			p.Timeout = 300 * time.Millisecond
		}
		err := p.Run(ctx, nil)
		cancel()
		if cancelled != errors.Is(err, context.Canceled) || err == nil {
			t.Errorf("cancelled %v: %v", cancelled, err)
		}
		if pid != "" { // on a busy machine the time is over before it says so
			gone(t, pid)
		}
	}
}

// A program that ends when it is asked to gets the time to clean up.
func TestTermComesFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := shell(`trap 'echo clean; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	p.grace = time.Hour // SIGKILL would come after the test
	var said []string
	p.Output = func(line string) {
		if said = append(said, line); line == "ready" {
			cancel()
		}
	}
	if err := p.Run(ctx, nil); !errors.Is(err, context.Canceled) || !slices.Contains(said, "clean") {
		t.Errorf("%q, %v", said, err)
	}
}

// One that left the group keeps neither the run nor its own life.
func TestDaemonDoesNotHoldTheRun(t *testing.T) {
	testneed.Tool(t, "setsid")
	p := shell(`setsid sleep 1000 & sleep 0.2; echo $!`)
	p.grace = 10 * time.Millisecond
	said, err := run(t, p, nil)
	if err != nil || len(said) != 1 {
		t.Fatal(said, err)
	}
	pid, err := strconv.Atoi(said[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("the daemon %d is gone: %v", pid, err)
	}
}

func TestNothingStartsAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "x")
	if err := (Program{Argv: []string{"/usr/bin/touch", file}}).Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the program ran")
	}
}

// Of what this process has open a program gets nothing, and its input is empty.
func TestFilesAreClosed(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	said, err := run(t, shell(`ls -l /proc/self/fd; cat`), nil)
	all := strings.Join(said, "\n")
	if err != nil || !strings.Contains(all, "0 -> /dev/null") || strings.Contains(all, f.Name()) {
		t.Errorf("the program has\n%s\n%v", all, err)
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want []string
	}{
		{[]string{"a\nb\r\n", "c"}, []string{"a", "b", "c"}},
		{[]string{"a", "b", "\n\n\n"}, []string{"ab"}},
		{[]string{strings.Repeat("x", maxLine)}, []string{strings.Repeat("x", maxLine)}},
		{[]string{strings.Repeat("x", maxLine), "yz\nq"}, []string{strings.Repeat("x", maxLine) + "…", "q"}},
		{nil, nil},
	} {
		var got []string
		l := &lines{out: func(line string) { got = append(got, line) }}
		for _, s := range tt.in {
			if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
				t.Error(n, err)
			}
		}
		l.end()
		if !slices.Equal(got, tt.want) || cap(l.buf) > 4*maxLine {
			t.Errorf("%.20q gives %.40q, want %.40q", tt.in, got, tt.want)
		}
	}
}

// gone waits until a process has ended that was killed, and fails when nobody
// killed it.
func gone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(n, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if ready == 0 || err != nil {
			_ = unix.Kill(n, unix.SIGKILL)
			t.Errorf("process %s was not killed: %v", pid, err)
		}
		return
	}
}
