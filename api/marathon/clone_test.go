package marathon

import (
	"encoding/json"
	"reflect"
	"testing"
)

// full has something in every field, however deep.
func full(t *testing.T) *App {
	var a App
	fill(t, reflect.ValueOf(&a).Elem())
	return &a
}

func fill(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{"list": []any{"x", map[string]any{"y": "z"}}}))
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Float64:
		v.SetFloat(1.5)
	default:
		t.Fatalf("%s: fill does not know it", v.Type())
	}
}

// apart fails where a and b share what can change.
func apart(t *testing.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		apart(t, path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			apart(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Slice:
		for i := range a.Len() {
			apart(t, path+"[]", a.Index(i), b.Index(i))
		}
	case reflect.Map:
		for _, k := range a.MapKeys() {
			apart(t, path+"{}", a.MapIndex(k), b.MapIndex(k))
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	a := full(t)
	c := a.Clone()
	if !reflect.DeepEqual(a, c) {
		t.Fatal("the copy differs")
	}
	apart(t, "App", reflect.ValueOf(a), reflect.ValueOf(c))
	if empty := (&App{}).Clone(); !reflect.DeepEqual(empty, &App{}) {
		t.Errorf("%+v", empty)
	}
}

// Every field but three counts, so one that is added later counts by itself.
func TestSameConfig(t *testing.T) {
	a := full(t)
	for i := range reflect.TypeFor[App]().NumField() {
		b := a.Clone()
		field := reflect.ValueOf(b).Elem().Field(i)
		field.SetZero()
		name := reflect.TypeFor[App]().Field(i).Name
		want := name == "Instances" || name == "Version" || name == "VersionInfo"
		if got := a.SameConfig(b); got != want || b.SameConfig(a) != want {
			t.Errorf("without %s: %v", name, got)
		}
	}
	b := a.Clone()
	a.Constraints = [][]string{{"a", "LIKE", "x"}, {"b", "UNIQUE"}}
	b.Constraints = [][]string{{"b", "UNIQUE"}, {"a", "LIKE", "x"}}
	a.Dependencies, b.Dependencies = []string{"/a", "/b"}, []string{"/b", "/a"}
	if !a.SameConfig(b) {
		t.Error("the order of sets counts")
	}
	b.Dependencies = []string{"/b", "/b"}
	if a.SameConfig(b) {
		t.Error("other dependencies do not count")
	}
	a.Dependencies = nil
	a.Args, b.Args, b.Dependencies = []string{"a", "b"}, []string{"b", "a"}, nil
	if a.SameConfig(b) {
		t.Error("the order of arguments does not count")
	}
}

func TestNoPortsIsNotUnsaid(t *testing.T) {
	for _, a := range []*App{{PortDefinitions: []PortDefinition{}}, {}} {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var again App
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if (again.PortDefinitions == nil) != (a.PortDefinitions == nil) {
			t.Errorf("%s", b)
		}
	}
}
