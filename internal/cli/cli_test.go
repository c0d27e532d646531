package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain text\n":     "plain text",
		"a\nb\r\nc":        `a; b\r; c`,
		"red \x1b[31m":     `red \x1b[31m`,
		"tab\tnul\x00":     `tab\tnul\x00`,
		"bad \xff\x0a\x80": `bad \xff; \x80`,
		"grüße 中":          "grüße 中",
		"bidi \u202e":      `bidi \u202e`,
		"it's 'quoted'":    "it's 'quoted'",
		"no-break\u00a0":   `no-break\u00a0`,
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("x\n\x1b]0;title\x07\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range OneLine(s) {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				t.Fatalf("OneLine(%q) keeps %q", s, r)
			}
		}
	})
}

func TestHintSkipsEmpty(t *testing.T) {
	inner := WithHint(errors.New("x"), "inner")
	if got := Hint(WithHint(fmt.Errorf("y: %w", inner), "")); got != "inner" {
		t.Errorf("Hint = %q", got)
	}
	if got := Hint(WithHint(inner, "outer")); got != "outer" {
		t.Errorf("Hint = %q", got)
	}
	if WithHint(nil, "h") != nil || ExitCode(nil) != 0 || Hint(nil) != "" {
		t.Error("nil is not left alone")
	}
}

func TestSourceDateEpoch(t *testing.T) {
	for in, want := range map[string]string{
		"0":            "1970-01-01T00:00:00Z",
		"1700000000":   "2023-11-14T22:13:20Z",
		"253402300799": "9999-12-31T23:59:59Z",
	} {
		got, err := SourceDateEpoch(in)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("SourceDateEpoch(%q) = %v, %v", in, got, err)
		}
	}
	if got, err := SourceDateEpoch(""); got != nil || err != nil {
		t.Errorf("unset: %v, %v", got, err)
	}
	for _, in := range []string{"-1", "1.5", " 1", "x", "253402300800", "99999999999999999999"} {
		if _, err := SourceDateEpoch(in); ExitCode(err) != ExitUsage || Hint(err) == "" {
			t.Errorf("SourceDateEpoch(%q): %v", in, err)
		}
	}
}

func TestProgressLinesWithoutTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		env := &Env{Name: "prog", Stderr: &stderr, level: levelInfo}
		report := env.Progress()
		report("blob", 10, 2048)
		time.Sleep(linePause) // the bubble's clock, not ours
		report("blob\n", 1024, 2048)
		report("blob", 2048, 2048)
		time.Sleep(linePause)
		report("stream", 3<<30, -1)
		env.StopProgress()
		want := "prog: blob; : 1.0 KiB of 2.0 KiB\nprog: stream: 3.0 GiB\n"
		if stderr.String() != want {
			t.Errorf("stderr %q, want %q", &stderr, want)
		}
	})
}

func TestBarsAreJoined(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminal: %v", err)
	}
	defer tty.Close()
	t.Setenv("TERM", "xterm")
	env := &Env{Name: "prog", Stderr: tty, level: levelInfo}
	report := env.Progress()
	if env.progress.paint == nil {
		t.Fatal("a terminal gets no bars")
	}
	for i := range 200 {
		report(fmt.Sprintf("blob %d", i%80), int64(i), 100)
	}
	report("stream", 5, -1)
	report("empty", 0, 0)
	env.Warn("above the bars")
	env.StopProgress()
	report("late", 1, 2)
	env.StopProgress()
}

func TestVersionOf(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0"}
	info.Main.Version = "v1.2.3"
	if got := versionOf(info); got != "v1.2.3 (go1.26.0)" {
		t.Error(got)
	}
	info.Main.Version = "(devel)"
	info.Settings = []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	if got := versionOf(info); got != "devel-0123456789ab+dirty (go1.26.0)" {
		t.Error(got)
	}
}

// TestRightsHint: who may not look into a directory is told who may, unless there is
// better advice.
func TestRightsHint(t *testing.T) {
	denied := fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: ".nbextract", Err: syscall.EACCES})
	for _, tt := range []struct {
		err  error
		user int
		want string
	}{
		{denied, 1000, "user 1000 has no right"},
		{denied, 0, ""},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.ENOENT}, 1000, ""},
		{os.NewSyscallError("bind", syscall.EACCES), 1000, ""},
	} {
		if got := rightsHint(tt.err, tt.user); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v for %d: %q", tt.err, tt.user, got)
		}
	}
	if got := Hint(WithHint(denied, "better")); got != "better" {
		t.Errorf("%q", got)
	}
}
