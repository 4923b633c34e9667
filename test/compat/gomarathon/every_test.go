package gomarathon

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"testing"

	marathon "github.com/gambol99/go-marathon"
)

// TestEveryCall finds calls of the client that no test makes.
func TestEveryCall(t *testing.T) {
	called := make(map[string]bool)
	for _, name := range must(filepath.Glob("*_test.go"))(t) {
		file := must(parser.ParseFile(token.NewFileSet(), name, nil, 0))(t)
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok {
					called[s.Sel.Name] = true
				}
			}
			return true
		})
	}
	client := reflect.TypeFor[marathon.Marathon]()
	if client.NumMethod() < 40 {
		t.Fatalf("the client has only %d calls", client.NumMethod())
	}
	for i := range client.NumMethod() {
		if name := client.Method(i).Name; !called[name] {
			t.Errorf("no test calls %s", name)
		}
	}
}
