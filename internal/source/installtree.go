package source

import (
	"context"
	"encoding/hex"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// removableNames are the endings of the names that UEFI gives to files of an
// architecture, by the architecture's name in .treeinfo.
var removableNames = map[string]string{"x86_64": "x64", "aarch64": "aa64", "riscv64": "riscv64", "loongarch64": "loongarch64"}

// treeInfo takes kernel, initrd and installer image of the tree's own
// architecture, and what EFI/BOOT has by its usual names: .treeinfo says nothing
// about that. Everything else that it names is there for those who choose.
func (t *webTree) treeInfo(ctx context.Context, doc, text string) error {
	ini := parseINI(text)
	t.c.facts.treeInfo(ini, doc)
	arch := ini.get("tree", "arch")
	if arch == "" {
		arch = ini.get("general", "arch")
	}
	by := t.base.JoinPath(doc).String()
	names := map[string]bool{} // true: boot set
	for section, keys := range ini {
		for key, p := range keys {
			switch {
			case strings.HasPrefix(section, "images-"):
				names[p] = names[p] || section == "images-"+arch && (key == "kernel" || key == "initrd")
			case section == "stage2":
				names[p] = names[p] || key == "mainimage"
			case section == "checksums" && !strings.HasPrefix(key, "repodata/"):
				names[key] = names[key]
			}
		}
	}
	var files []treeFile
	for p, boot := range names {
		if err := spec.CheckPath(p); err != nil {
			return err
		}
		sum, _ := strings.CutPrefix(ini.get("checksums", p), "sha256:")
		if !isSHA256(sum) {
			sum = ""
		}
		files = append(files, treeFile{name: p, path: p, sha256: sum, by: by, boot: boot})
	}
	slices.SortFunc(files, func(a, b treeFile) int { return strings.Compare(a.name, b.name) })
	if s := removableNames[arch]; s != "" {
		for _, base := range []string{"BOOT" + strings.ToUpper(s) + ".EFI", "shim" + s + ".efi", "grub" + s + ".efi", "grub.efi", "mm" + s + ".efi"} {
			p := path.Join("EFI/BOOT", base)
			files = append(files, treeFile{name: p, path: p, boot: true, maybe: true})
		}
	}
	if err := t.take(ctx, files); err != nil {
		return err
	}
	t.o.notes = append(t.o.notes, "what lies in EFI/BOOT is not covered by the checksums of "+doc)
	return nil
}

// installerFile is what of Debian's images makes the boot set for the network:
// the tree, not the same again with a graphical installer, as archive or medium.
var installerFile = regexp.MustCompile(`^(?:netboot/)?(debian-installer/.+|pxelinux\.0|ldlinux\.c32)$`)

// sums takes the files that a list of checksums names, with Debian's tree at the
// top. The list may lie in the directory above.
func (t *webTree) sums(ctx context.Context, doc, text string) error {
	prefix := ""
	if strings.HasPrefix(doc, "../") {
		prefix = path.Base(strings.TrimSuffix(t.base.Path, "/")) + "/"
	}
	var files []treeFile
	for line := range strings.Lines(text) {
		sum, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if !ok || !isSHA256(sum) || len(name) < 2 {
			return badArchive(t.base.JoinPath(doc).String(), "not a list of SHA-256 checksums")
		}
		full := strings.TrimPrefix(name[1:], "./")
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		if err := spec.CheckPath(rest); err != nil {
			return err
		}
		f := treeFile{name: rest, path: rest, sha256: sum, by: t.base.JoinPath(doc).String()}
		if m := installerFile.FindStringSubmatch(rest); m != nil {
			f.name, f.boot = m[1], true
		}
		files = append(files, f)
	}
	if len(files) > spec.MaxEntries {
		return badArchive(t.base.JoinPath(doc).String(), "it names more than %d files", spec.MaxEntries)
	}
	for _, f := range files {
		if arch, ok := strings.CutPrefix(f.name, "debian-installer/"); ok && f.boot {
			arch, _, _ = strings.Cut(arch, "/")
			t.c.facts.add(FactPlatform, arch, doc)
			t.c.facts.add(FactOSName, "debian", doc)
			break
		}
	}
	return t.take(ctx, files)
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}
