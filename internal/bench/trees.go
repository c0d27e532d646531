package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// treeFiles are the files of a version of the series that make a tree.
func treeFiles(image string) map[string]string {
	return map[string]string{
		"shimx64.efi": "shimx64.efi", "grubx64.efi": "grubx64.efi", "pxelinux.0": "pxelinux.0",
		"vmlinuz": "vmlinuz", "initrd.img": "initrd.img", image: "install.img",
	}
}

// makeTrees puts the versions below dir, as hard links where that is possible.
func makeTrees(dir string, o options) (trees []string, err error) {
	for _, version := range o.versions {
		tree := filepath.Join(dir, version)
		if err := os.MkdirAll(tree, 0o755); err != nil {
			return nil, err
		}
		for from, to := range treeFiles(o.image) {
			if err := place(filepath.Join(o.series, version, from), filepath.Join(tree, to)); err != nil {
				return nil, err
			}
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

// place links a file, or copies it with its time, by which rsync judges. What is
// there already is kept: it may be a link of the very file, so it must not be written.
func place(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// withConfig is a tree with one more file, of 30 bytes.
func (s *stand) withConfig(n int) (string, error) {
	tree := filepath.Join(s.dir, "trees", fmt.Sprintf("config-%d", n))
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return "", err
	}
	for _, name := range treeFiles(s.opts.image) {
		if err := place(filepath.Join(s.trees[0], name), filepath.Join(tree, name)); err != nil {
			return "", err
		}
	}
	return tree, os.WriteFile(filepath.Join(tree, "grub.cfg"), fmt.Appendf(nil, "%-29s\n", fmt.Sprintf("set timeout=%d", n)), 0o644)
}

// random writes bytes that do not compress, the same ones each time.
func random(name string, size int64) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	source := rand.NewChaCha8(sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(size))))
	_, err = io.CopyBuffer(file, io.LimitReader(source, size), make([]byte, 1<<20))
	return err
}
