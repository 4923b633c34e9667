package account

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	me, err := Lookup("")
	if err != nil {
		t.Fatal(err)
	}
	if !me.Mine() || me.Credential() != nil {
		t.Fatalf("%+v is not this process's user %d", me, os.Geteuid())
	}
	byName, err := Lookup("root")
	if err != nil {
		t.Fatal(err)
	}
	byNumber, err := Lookup("0")
	if err != nil {
		t.Fatal(err)
	}
	if byName.Name != "root" || byName.UID != 0 || byNumber.Name != "root" || byNumber.GID != 0 {
		t.Fatalf("%+v, %+v", byName, byNumber)
	}
	nobody, err := Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	if c := nobody.Credential(); !nobody.Mine() && (c == nil || strconv.Itoa(int(c.Uid)) == "0") {
		t.Fatalf("credential of nobody: %+v", c)
	}
	for _, name := range []string{"no-such-user", "4294967290", "../root", "-1"} {
		if _, err := Lookup(name); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
