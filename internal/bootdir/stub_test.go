package bootdir

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// TestStubIsComplete: other systems have every exported function and method that Linux
// has, so that what imports this package is built there, too.
func TestStubIsComplete(t *testing.T) {
	linux, other := exported(t, "linux"), exported(t, "darwin")
	if len(linux) == 0 {
		t.Fatal("nothing is exported")
	}
	for name := range linux {
		if !other[name] {
			t.Errorf("%s is missing in stub_other.go", name)
		}
	}
}

// exported lists the functions and methods of exported names that the package has on a
// system.
func exported(t *testing.T, system string) map[string]bool {
	t.Helper()
	dir, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range dir {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !builtOn(t, file, system) {
			continue
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			if name := receiver(f) + f.Name.Name; ast.IsExported(name) {
				names[name] = true
			}
		}
	}
	return names
}

// builtOn obeys the build line; no file here goes by its name.
func builtOn(t *testing.T, file *ast.File, system string) bool {
	t.Helper()
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() > file.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			x, err := constraint.Parse(c.Text)
			if err != nil {
				t.Fatal(err)
			}
			return x.Eval(func(tag string) bool { return tag == system })
		}
	}
	return true
}

// receiver gives the type of a method with a dot behind it; nothing for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	x := f.Recv.List[0].Type
	if star, ok := x.(*ast.StarExpr); ok {
		x = star.X
	}
	return x.(*ast.Ident).Name + "."
}
