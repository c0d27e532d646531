package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/upstream"
	"github.com/nbpack/nbpack/spec"
)

// verification is what the files of a plan are compared with.
//
// There are two kinds of lists. A plain list on disk that nobody signed was made
// for this very tree: it has to fit exactly. What a publisher says (a .treeinfo,
// a list that is rooted in a signature, one from a web server) is about more
// than what is packed, and about less: a file has to agree with it if it is
// there.
type verification struct {
	own   map[string]string // the plain list, by name in the sources; nil: none
	lists []*upstream.List  // of publishers
	// signed: what nobody signed vouches for nothing.
	signed bool
	// skip are the documents, which are not packed.
	skip []fs.FileInfo
	// docs and keys are what was read, in order.
	docs, keys []inputFile
	// whole are the lists that name a source as a whole, by file name and SHA-256.
	whole map[sourceFile][]*upstream.List
	// files by name in the sources, once the sources are known.
	files map[string]vouched
}

// inputFile is a list of checksums, a signature or a keyring.
type inputFile struct{ name, sha256 string }

func newInput(name string, b []byte) inputFile {
	sum := sha256.Sum256(b)
	return inputFile{name, hex.EncodeToString(sum[:])}
}

// sourceFile is a source that is a file.
type sourceFile struct{ base, sha256 string }

// vouched is what publishers say about a file.
type vouched struct {
	claims []upstream.Claim // the content has to satisfy all
	lists  []*upstream.List // that vouch, by such a claim or for the source as a whole
	by     []string         // their names, and those of documents of install trees
}

// readChecksums reads all that Options say about checksums.
func readChecksums(ctx context.Context, o *Options) (*verification, error) {
	v := &verification{signed: len(o.Keyrings) > 0, whole: map[sourceFile][]*upstream.List{}}
	keys, err := v.readKeyrings(o)
	if err != nil {
		return nil, err
	}
	if keys != nil && len(o.Checksums) == 0 {
		return nil, badOption("give signed checksums with --checksums", "there is a keyring, but nothing to check with it")
	}
	docs, err := v.documents(ctx, o)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if o.again != nil {
		now = time.Time{} // what was good then suffices
	}
	all, err := upstream.Read(docs, keys, now)
	if err != nil {
		return nil, err
	}
	for _, l := range all.Lists {
		if l.Kind == upstream.KindSums && l.Signer == "" && !source.IsURL(l.Name) {
			err = v.addOwn(l)
		} else {
			v.lists = append(v.lists, l)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *verification) addOwn(l *upstream.List) error {
	if v.own == nil {
		v.own = map[string]string{}
	}
	sums := l.Sums()
	for _, name := range sortedKeys(sums) {
		if other, ok := v.own[name]; ok && other != sums[name] {
			return refuse(ruleSourceSum, name, "", "the checksum files do not agree about it")
		}
	}
	maps.Copy(v.own, sums)
	return nil
}

func (v *verification) readKeyrings(o *Options) (*upstream.Keyring, error) {
	if len(o.Keyrings) == 0 {
		return nil, nil
	}
	keys := &upstream.Keyring{}
	for _, file := range o.Keyrings {
		b, _, err := readDocument("keyring", o.at(file))
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, newInput(file, b))
		if err := keys.Add(file, b); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// documents gets what --checksums names, and what detached signatures among it
// are for.
func (v *verification) documents(ctx context.Context, o *Options) ([]upstream.Document, error) {
	var docs []upstream.Document
	have := map[string]bool{}
	add := func(name string) (upstream.Document, error) {
		d := upstream.Document{Name: name}
		var err error
		if at := o.at(name); source.IsURL(at) {
			d.Bytes, err = source.Fetch(ctx, source.Options{PlainHTTP: o.PlainHTTP, TempDir: o.TempDir, Log: o.Log}, at, upstream.MaxDocument)
		} else {
			var info fs.FileInfo
			if d.Bytes, info, err = readDocument("checksum file", at); err == nil {
				v.skip = append(v.skip, info)
			}
		}
		if err == nil && !have[name] {
			docs, have[name] = append(docs, d), true
			v.docs = append(v.docs, newInput(name, d.Bytes))
		}
		return d, err
	}
	var signed []string
	for _, name := range o.Checksums {
		d, err := add(name)
		if err != nil {
			return nil, err
		}
		if of, ok := upstream.SignedName(name, d.Bytes); ok && of != "" {
			signed = append(signed, of)
		}
	}
	for _, name := range signed {
		if have[name] {
			continue
		}
		if _, err := add(name); err != nil {
			return nil, fmt.Errorf("getting what %q is the signature of: %w", name, err)
		}
	}
	return docs, nil
}

// readDocument reads a small file. what says in messages what it is.
func readDocument(what, file string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("looking at the %s: %w", what, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, upstream.MaxDocument+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the %s: %w", what, err)
	}
	return b, info, nil
}

// admit is asked about each source that is a file and holds others.
func (v *verification) admit(base, sha256 string) error {
	for _, l := range v.lists {
		sums := l.Find(base)
		if len(sums) == 0 {
			continue
		}
		if !slices.Contains(sums, sha256) {
			return refuse(ruleSourceSum, base, "fetch the file again; nothing was published", "has the SHA-256 %s, %s says %s", sha256, listName(l), sums[0])
		}
		key := sourceFile{base, sha256}
		v.whole[key] = append(v.whole[key], l)
	}
	return nil
}

// check finds out what is said about the files, and refuses what the user does
// not want.
func (v *verification) check(o *Options, set *source.Set, f *filter) error {
	if err := v.checkOwn(set, f); err != nil {
		return err
	}
	v.match(set)
	used := map[*upstream.List]bool{}
	for _, file := range v.files {
		for _, l := range file.lists {
			used[l] = true
		}
	}
	for _, l := range v.lists {
		if !used[l] {
			return refuse(ruleSourceSum, l.Name, "give the checksums of the release and architecture that is packed", "says nothing about any file that is packed")
		}
	}
	without := v.without()
	if len(without) == 0 {
		return nil
	}
	if o.RequireVerified {
		return refuse(ruleSourceSum, without[0], "give what its publisher says with --checksums, or leave it out with --exclude",
			"no publisher's checksum is known of it, and of %d of %d files in all", len(without), len(v.files))
	}
	if len(v.lists) > 0 {
		o.log("no publisher's checksum is known of %d of %d files, %q for one", len(without), len(v.files), without[0])
	}
	return nil
}

// match looks all files up.
func (v *verification) match(set *source.Set) {
	whole := map[string][]*upstream.List{}
	for _, o := range set.Origins() {
		whole[o.Name] = v.whole[sourceFile{o.Base, o.SHA256}]
	}
	v.files = map[string]vouched{}
	for _, n := range set.Entries() {
		if n.Type != spec.TypeFile {
			continue
		}
		var file vouched
		for _, l := range v.lists {
			sums := l.Find(n.Name)
			if len(sums) > 0 {
				file.claims = append(file.claims, upstream.Claim{List: l, SHA256: sums})
			}
			if len(sums) > 0 || slices.Contains(whole[n.Source], l) {
				file.lists = append(file.lists, l)
				file.by = append(file.by, listName(l))
			}
		}
		if n.PromisedBy != "" && !v.signed {
			file.by = append(file.by, source.Public(n.PromisedBy))
		}
		v.files[n.Name] = file
	}
}

// without gives the names of the files that no publisher vouches for, sorted.
func (v *verification) without() []string {
	var names []string
	for _, name := range sortedKeys(v.files) {
		if len(v.files[name].by) == 0 {
			names = append(names, name)
		}
	}
	return names
}

// checkOwn refuses files that the plain list does not have, and names of the
// list that are missing although no filter left them out: a list that fits only
// in part proves little.
func (v *verification) checkOwn(set *source.Set, f *filter) error {
	if v.own == nil {
		return nil
	}
	files := map[string]bool{}
	for _, o := range set.Origins() {
		if _, ok := v.own[o.Base]; ok && !slices.ContainsFunc(set.Entries(), func(e source.Entry) bool { return e.Name == o.Base }) {
			return refuse(ruleSourceSum, o.Base, "pin it by sha256 in a recipe, or list the files that are in it",
				"is an archive, and the checksum file, which nobody signed, is about what is packed")
		}
	}
	for _, n := range set.Entries() {
		if n.Type != spec.TypeFile {
			continue
		}
		files[n.Name] = true
		if _, ok := v.own[n.Name]; !ok {
			return refuse(ruleSourceSum, n.Name, "add it to the list, or leave it out with --exclude", "is not in the checksum file")
		}
	}
	for _, name := range sortedKeys(v.own) {
		if !files[name] && !f.excluded(name) && f.included(name) {
			return refuse(ruleSourceSum, name, "leave it out with --exclude if it is not wanted", "is in the checksum file, but no source holds that file")
		}
	}
	return nil
}

// checkSum compares the content of a file with all that is said about it.
func (p *Plan) checkSum(e *Entry, got string) error {
	name := e.node.Name
	if want := e.node.SHA256; want != "" && got != want {
		if e.node.PromisedBy == "" {
			return source.Changed(name)
		}
		return differs(name, got, e.node.PromisedBy, want)
	}
	if e.Source == "" {
		return nil // it is made up here
	}
	if p.verify.own != nil && p.verify.own[name] != got {
		return differs(name, got, "the checksum file", p.verify.own[name])
	}
	for _, c := range p.verify.files[name].claims {
		if !slices.Contains(c.SHA256, got) {
			return differs(name, got, listName(c.List), c.SHA256[0])
		}
	}
	return nil
}

func differs(name, got, who, want string) error {
	return refuse(ruleSourceSum, name, "fetch the file again; nothing was published", "has the SHA-256 %s, %s says %s", got, who, want)
}

// listName names a list for everybody: as the archive calls it, or without the
// directory that it lies in here.
func listName(l *upstream.List) string {
	if l.NameInRoot != "" {
		return l.NameInRoot
	}
	return source.Public(l.Name)
}
