package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/stoa-kernel/stoa/"

// source is one hand-written Go file.
type source struct {
	path  string // slash-separated, relative to the module's root
	text  []byte
	file  *ast.File
	fset  *token.FileSet
	tests bool
}

func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) imports() []string {
	var out []string
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			panic(err) // the parser accepted it
		}
		out = append(out, p)
	}
	return out
}

func sources(t *testing.T) []*source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []*source
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, ".pb.go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, &source{rel, text, file, fset, strings.HasSuffix(rel, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files below %s: the rules would pass by seeing nothing", len(out), root)
	}
	return out
}

// pure lists the packages that may do nothing but compute: the simulator runs them
// under its own clock, and only what cannot ask for time, disk or network replays
// byte for byte from a seed.
var pure = []string{
	"kernel", "master/state", "master/allocator", "master/validate",
	"agent/state", "agent/status", "agent/container", "agent/check", "internal/loop", "internal/planted",
	"run/state", "service/instance", "service/app", "service/plan", "service/deploy", "service/match",
	"service/selector", "service/state", "service/why",
}

func inside(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") })
}

func TestPureCoresDoNoIO(t *testing.T) {
	forbidden := []string{"os", "net", "sync", "context", "log", "testing", "go.etcd.io", "io/fs", "syscall", "golang.org/x/sys"}
	for _, s := range sources(t) {
		if s.tests || !inside(s.dir(), pure...) {
			continue
		}
		for _, p := range s.imports() {
			// Version 2 is fine: its generators are values with a seed. Its global functions
			// are found below.
			if inside(p, forbidden...) && p != "net/netip" || p == "math/rand" {
				t.Errorf("%s imports %s: a pure core takes time as an argument and returns effects; the loop around it does the I/O", s.path, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a pure core starts no goroutine: its order would not replay", s.fset.Position(n.Pos()))
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := f.X.(*ast.Ident); ok && x.Name == "rand" && !slices.Contains([]string{"New", "NewPCG"}, f.Sel.Name) {
					t.Errorf("%s: rand.%s in a pure core: randomness is a seeded generator in the state", s.fset.Position(n.Pos()), f.Sel.Name)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Sleep", "After", "Since", "Until", "NewTimer", "Tick", "NewTicker", "AfterFunc"}, n.Sel.Name) {
					t.Errorf("%s: time.%s in a pure core: time is the now argument, waiting is a SetTimer effect", s.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// ring orders the rings: a package may import only packages of its own ring or an
// inner one. Packages in no list are the outermost.
func ring(dir string) int {
	switch {
	case inside(dir, "api"):
		return 0
	case inside(dir, pure...):
		return 1
	case inside(dir, "internal"), inside(dir, "store"), inside(dir, "sdk"),
		inside(dir, "master/registry", "master/session", "master/http", "master/view", "master/elect"),
		inside(dir, "agent/checkpoint", "agent/containerizer", "agent/http", "agent/link", "agent/sandbox", "agent/probe"),
		inside(dir, "run/http", "service/health", "service/http", "service/view", "service/events"):
		return 2
	case dir == "master", dir == "agent", dir == "run", dir == "service", dir == "cron":
		return 3
	}
	return 4
}

func TestImportsPointInward(t *testing.T) {
	for _, s := range sources(t) {
		if s.tests {
			continue
		}
		for _, p := range s.imports() {
			to, ok := strings.CutPrefix(p, module)
			if ok && ring(to) > ring(s.dir()) {
				t.Errorf("%s imports %s of an outer ring: PURE <- EDGE <- LOOP <- cmd; let the outer package call inward", s.path, to)
			}
		}
	}
}

func TestRolesMeetOnlyInTheKernel(t *testing.T) {
	roles := []string{"master", "agent", "run", "service", "cron"}
	for _, s := range sources(t) {
		if s.tests {
			continue
		}
		from := strings.SplitN(s.dir(), "/", 2)[0]
		for _, p := range s.imports() {
			local, ok := strings.CutPrefix(p, module)
			if !ok {
				continue
			}
			to := strings.SplitN(local, "/", 2)[0]
			switch {
			case slices.Contains(roles, from) && slices.Contains(roles, to) && from != to:
				t.Errorf("%s imports %s: roles meet in api, kernel and sdk, so that each can run alone", s.path, local)
			case from == "sdk" && slices.Contains(roles, to):
				t.Errorf("%s imports %s: the SDK speaks the public API only", s.path, local)
			case slices.Contains([]string{"run", "service", "cron"}, from) && to == "internal" && strings.HasPrefix(local, "internal/frame"):
				t.Errorf("%s imports %s: a framework uses what every framework can, sdk/scheduler", s.path, local)
			}
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	const most = 1000
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > most {
			t.Errorf("%s has %d lines, more than %d: split it by subject", s.path, n, most)
		}
	}
}

func TestPackagesAreNamedAndDescribed(t *testing.T) {
	type pkg struct{ described, real bool }
	pkgs := map[string]*pkg{}
	for _, s := range sources(t) {
		base := path.Base(s.dir())
		if slices.Contains([]string{"pkg", "util", "utils", "common", "helper", "helpers", "manager", "misc"}, base) {
			t.Errorf("%s: a package is named by the noun it owns; %q owns nothing", s.path, base)
		}
		if s.tests {
			continue
		}
		p := pkgs[s.dir()]
		if p == nil {
			p = new(pkg)
			pkgs[s.dir()] = p
		}
		p.real = true
		// A //go:debug line between comment and clause takes the comment from Doc.
		p.described = p.described || s.file.Doc.Text() != "" || len(s.file.Comments) > 0 && s.file.Comments[0].End() < s.file.Package && s.file.Comments[0].Text() != ""
	}
	for dir, p := range pkgs {
		if p.real && !p.described {
			t.Errorf("%s has no package comment: say in a sentence what it owns", dir)
		}
	}
}

func TestExportedNamesAreDescribed(t *testing.T) {
	for _, s := range sources(t) {
		if s.tests || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Recv == nil && d.Doc.Text() == "" {
					t.Errorf("%s: %s has no comment", s.fset.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc.Text() == "" && ts.Doc.Text() == "" && ts.Comment.Text() == "" && !d.Lparen.IsValid() {
						t.Errorf("%s: type %s has no comment", s.fset.Position(ts.Pos()), ts.Name.Name)
					}
				}
			}
		}
	}
}

func TestNothingIsLeftForLater(t *testing.T) {
	// The words are put together here so that this file does not find itself.
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:", "panic(\"con" + "tract\")"}
	for _, s := range sources(t) {
		for i, line := range strings.Split(string(s.text), "\n") {
			for _, w := range words {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: %q: finish it, or leave it out and say so in an issue", s.path, i+1, w)
				}
			}
			if s.tests && (strings.Contains(line, "time.Sle"+"ep(") || strings.Contains(line, "t.Sk"+"ip")) {
				t.Errorf("%s:%d: a test waits on events or virtual time, and never passes by not running", s.path, i+1)
			}
		}
	}
}

func TestTextsStandOnTheirOwn(t *testing.T) {
	// What a reader of this repository cannot open is no reference.
	elsewhere := []string{"/wo" + "rk/main", "/wo" + "rk/shared", "mesos" + ".md", "decisions" + ".md", "design" + ".md", "clients" + ".md", "the bri" + "ef"}
	for _, s := range sources(t) {
		for i, line := range strings.Split(string(s.text), "\n") {
			for _, w := range elsewhere {
				if strings.Contains(line, w) {
					t.Errorf("%s:%d: %q is not in this repository; name the source (Mesos 1.11 and the file or page), or say it here", s.path, i+1, w)
				}
			}
		}
	}
}
