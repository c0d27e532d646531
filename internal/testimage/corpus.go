package testimage

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Class is one file of the corpus: the cases of one kind of attack.
type Class struct {
	Name   string `json:"-"` // the file's name without ".json"
	Lesson string // what went wrong in other programs, or what must go right
	Cases  []Case
}

// Case is one layout and what a consumer must do with it.
type Case struct {
	Name string
	Why  string
	Layout
	Image    *Image    // short for {"root": {"image": …}}
	Artifact *Artifact // short for {"root": {"artifact": …}}
	Over     *Image    // pulled over the good tree before the second pull, which then is an update
	Archive  *Archive  // pulled as an oci-archive
	Serve    *Serve    // pulled from a registry
	Args     []string  // more arguments of the command
	Heavy    bool      // run in a process of its own, its memory and writes measured
	Want     Want
}

// Want is the outcome. Exit codes other than 0 mean that nothing changes.
type Want struct {
	Exit Exits              // default 3, content refused
	Says string             // part of the error line, letter case aside
	Live string             // where the tree lies; default demo/1/amd64
	Pick []int              // which image of nested indexes it is
	Tree map[string]*string // changes of the tree that the entries spell out: "/", "-> target", "=content", or null
}

// Exits are the exit codes that are right: one number or a list.
type Exits []int

// UnmarshalJSON reads a number or a list of numbers.
func (x *Exits) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '[' {
		*x = make(Exits, 1)
		return json.Unmarshal(b, &(*x)[0])
	}
	return json.Unmarshal(b, (*[]int)(x))
}

// Load reads all classes of the corpus, "*.json" at the top of files.
func Load(files fs.FS) ([]Class, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	var all []Class
	for _, name := range names {
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		class := Class{Name: strings.TrimSuffix(path.Base(name), ".json")}
		if err := unmarshalKnown(body, &class); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := class.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, class)
	}
	return all, nil
}

// check fills in the defaults and finds names used twice.
func (c *Class) check() error {
	seen := map[string]bool{}
	for i := range c.Cases {
		one := &c.Cases[i]
		if one.Name == "" || seen[one.Name] {
			return fmt.Errorf("case %d: name %q is empty or taken", i, one.Name)
		}
		seen[one.Name] = true
		if one.Image != nil {
			one.Root.Image = one.Image
		}
		if one.Artifact != nil {
			one.Root.Artifact = one.Artifact
		}
		if one.Want.Exit == nil {
			one.Want.Exit = Exits{3}
		}
		if one.Want.Live == "" {
			one.Want.Live = "demo/1/amd64"
		}
	}
	return nil
}

// ExpectedTree is the tree that an accepted case must leave.
func (c Case) ExpectedTree(vars Vars) (Tree, error) {
	node, err := c.Root.Pick(c.Want.Pick...)
	if err != nil {
		return nil, err
	}
	t, err := node.Tree(vars)
	if err != nil {
		return nil, err
	}
	for name, what := range c.Want.Tree {
		switch {
		case what == nil:
			if _, there := t[name]; !there {
				return nil, fmt.Errorf("want.tree: no %q to take away", name)
			}
			delete(t, name)
		case strings.HasPrefix(*what, "="):
			t[name] = hexOf("", []byte(vars.expand((*what)[1:])))
		default:
			t[name] = *what
		}
	}
	return t, nil
}
