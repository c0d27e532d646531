package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// TestFailedBuild: whatever goes wrong, nothing appears and nothing changes.
func TestFailedBuild(t *testing.T) {
	c := testClient(t, Options{})
	boom := errors.New("boom")
	good := makeImage(t, "good")
	for _, to := range []string{"oci:%s/l:v1", "oci:%s/a/b:v1", "oci:%s/have:new", "oci:%s/empty", "oci-archive:%s/f:v1", "oci-archive:%s/have.tar", "dir:%s/d", "dir:%s/have.d"} {
		for name, fail := range map[string]func(s *Stage) error{
			"write": func(s *Stage) error {
				_, err := s.PutBlob(t.Context(), func(w io.Writer) error {
					_, _ = w.Write(make([]byte, 1<<20))
					return boom
				})
				return err
			},
			"missing blob": func(s *Stage) error {
				_, err := s.Publish(t.Context(), good.desc.MediaType, good.manifest)
				return err
			},
			"cancelled": func(s *Stage) error {
				putBytes(t, s, good.config)
				putBytes(t, s, good.layers[0])
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				_, err := s.Publish(ctx, good.desc.MediaType, good.manifest)
				return err
			},
			"bad manifest": func(s *Stage) error {
				_, err := s.Publish(t.Context(), good.desc.MediaType, []byte(`{"layers":[],"manifests":[]}`))
				return err
			},
			"other digest": func(s *Stage) error {
				s.dst.Digest = "sha256:" + hex64
				_, err := s.Publish(t.Context(), good.desc.MediaType, good.manifest)
				return err
			},
		} {
			t.Run(to+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				mkdir(t, dir, "empty")
				for _, have := range []string{"oci:%s/have:old", "oci-archive:%s/have.tar", "dir:%s/have.d"} {
					if err := publish(t, c, fmt.Sprintf(have, dir), makeImage(t, "old")); err != nil {
						t.Fatal(err)
					}
				}
				before := tree(t, dir)
				s, err := c.NewStage(t.Context(), mustRef(t, fmt.Sprintf(to, dir)))
				if err != nil {
					t.Fatal(err)
				}
				putBytes(t, s, []byte("a stray blob"))
				if err := fail(s); err == nil {
					t.Error("did not fail")
				} else if name == "write" && !errors.Is(err, boom) {
					t.Errorf("the writer's error is lost: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				sameTree(t, dir, before)
			})
		}
	}
}

// TestMergeRollsBack: a failure after some blobs were moved takes them back.
func TestMergeRollsBack(t *testing.T) {
	c := testClient(t, Options{})
	dir := t.TempDir()
	old := makeImage(t, "old")
	if err := publish(t, c, "oci:"+dir+":old", old); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	im := makeImage(t, "new 1", "new 2")
	s, err := c.NewStage(t.Context(), mustRef(t, "oci:"+dir+":new"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range append([][]byte{im.config}, im.layers...) {
		putBytes(t, s, b)
	}
	write(t, filepath.Join(mkdir(t, s.work.Path, "new-index.json"), "in the way"), "") // so the last step fails
	if _, err := s.Publish(t.Context(), im.desc.MediaType, im.manifest); err == nil {
		t.Error("did not fail")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The shared config blob was replaced by itself; everything else is as before.
	sameTree(t, dir, before)
	checkImage(t, c, "oci:"+dir+":old", old)
}

func TestSweep(t *testing.T) {
	c := testClient(t, Options{})
	dir := t.TempDir()
	old, young, held := mkdir(t, dir, ocilayout.StagePrefix+"old"), mkdir(t, dir, ocilayout.StagePrefix+"young"), mkdir(t, dir, ocilayout.StagePrefix+"held")
	link := filepath.Join(dir, ocilayout.StagePrefix+"link")
	safe := mkdir(t, dir, "safe")
	write(t, safe+"/x", "x")
	if err := os.Symlink(safe, link); err != nil {
		t.Fatal(err)
	}
	write(t, old+"/x", "x")
	past := time.Now().Add(-2 * time.Hour)
	for _, d := range []string{old, held, safe} {
		if err := os.Chtimes(d, past, past); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if err := publish(t, c, "oci:"+dir+"/l", makeImage(t, "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(old); !isNotExist(err) {
		t.Error("the old leftover is still there")
	}
	for _, d := range []string{young, held, link, safe + "/x"} {
		if _, err := os.Lstat(d); err != nil {
			t.Errorf("%q: %v", d, err)
		}
	}
}
