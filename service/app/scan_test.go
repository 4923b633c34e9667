package app

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// The scanner takes exactly what the standard library does: what follows it would read
// beyond the end of anything else.
func TestScanAgreesWithTheStandard(t *testing.T) {
	agree := func(doc []byte) (valid bool) {
		t.Helper()
		_, _, err := wellFormed(doc)
		if (err == nil) != json.Valid(doc) {
			t.Fatalf("%q: %v", doc, err)
		}
		return err == nil
	}
	for _, doc := range []string{
		`0`, `-0`, `-`, `01`, `1.`, `1.5`, `.5`, `1e`, `1e+`, `1E-2`, `1e5x`, `+1`, `--1`, `1 2`,
		`true`, `tru`, `truex`, `null`, `nul`, `false`, `False`, ``, ` `, "\t1\r\n",
		`""`, `"`, `"\"`, `"\\"`, `"\u12aF"`, `"\u12g4"`, `"\u12"`, `"\x"`, "\"\x01\"", "\"\xff\"", `"\`,
		`[]`, `[ ]`, `[,]`, `[1,]`, `[1 2]`, `[`, `[1`, `[1,`, `]`, `[]]`,
		`{}`, `{ }`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `{`, `{"a`, `{"a":1`, `{"a":`,
	} {
		agree([]byte(doc))
	}
	r := rand.New(rand.NewPCG(3, 4))
	fields := sortedKeys(fragments)
	const bytes = "{}[]\",:\\ \n0123456789.eE+-tfnul\x00\xff"
	valid := 0
	for range 20_000 {
		doc := randomDocument(r, fields)
		for range 1 + r.IntN(2) {
			i := r.IntN(len(doc))
			switch r.IntN(3) {
			case 0:
				doc[i] = bytes[r.IntN(len(bytes))]
			case 1:
				doc = append(doc[:i], doc[i+1:]...)
			default:
				doc = append(doc[:i+1], doc[i:]...)
			}
		}
		if agree(doc) {
			valid++
			if _, err := Decode(doc); err != nil {
				refused(t, err)
			}
		}
	}
	if valid < 1000 || valid > 19_000 {
		t.Errorf("%d of 20000 are JSON", valid)
	}
}
