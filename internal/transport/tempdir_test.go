package transport

import "testing"

// TestTempDir follows TMPDIR, unless the caller names a directory.
func TestTempDir(t *testing.T) {
	for _, tc := range []struct{ given, env, want string }{
		{"", "", "/var/tmp"},
		{"", "/scratch", "/scratch"},
		{"/own", "/scratch", "/own"},
	} {
		t.Setenv("TMPDIR", tc.env)
		c := &Client{o: Options{TempDir: tc.given}}
		if got := c.tempDir(); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}
