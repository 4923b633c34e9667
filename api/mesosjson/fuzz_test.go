package mesosjson

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	schedulerpb "github.com/stoa-kernel/stoa/api/mesos/v1/scheduler"
	"github.com/stoa-kernel/stoa/internal/recordio"
)

// Whatever is read is JSON, and reads the same after it was written.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"type":"KILL","kill":{"task_id":{"value":"\u00e9\ud83d\ude00"}}}`,
		`{"accept":{"offer_ids":[{"value":"a"},null],"filters":{"refuse_seconds":"-1.5E+3"}}}`,
		`{"x":[[{"y":true}],false,null],"message":{"agent_id":{"value":"a"},"executor_id":{"value":""},"data":"AA=="}}`,
		`{"subscribe":{"offer_constraints":{"role_constraints":{"a":null,"b":{"groups":[{}]}}},"framework_info":{"user":"","name":""}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var one, two schedulerpb.Call
		if err := Unmarshal(in, &one); err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is not JSON", in)
		}
		text := Marshal(&one)
		if err := Unmarshal(text, &two); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again := Marshal(&two); !bytes.Equal(text, again) {
			t.Fatalf("written %s\nagain   %s", text, again)
		}
	})
}

func benchmarkEvent(b *testing.B, min int) []byte {
	raw, err := os.ReadFile("testdata/scheduler-subscribe.recordio")
	if err != nil {
		b.Fatal(err)
	}
	r := recordio.NewReader(bytes.NewReader(raw), 0)
	for {
		record, err := r.Read()
		if err != nil {
			b.Fatal(err)
		}
		if len(record) >= min && bytes.Contains(record, []byte(`"OFFERS"`)) {
			return bytes.Clone(record)
		}
	}
}

func BenchmarkUnmarshalOffers(b *testing.B) {
	text := benchmarkEvent(b, 500)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var e schedulerpb.Event
	for b.Loop() {
		if err := Unmarshal(text, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendOffers(b *testing.B) {
	text := benchmarkEvent(b, 500)
	var e schedulerpb.Event
	if err := Unmarshal(text, &e); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = Append(buf[:0], &e)
	}
}
