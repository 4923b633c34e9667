package reason

import "testing"

func TestEveryReasonHasCodeAndWords(t *testing.T) {
	codes := map[string]Reason{}
	for r := range count {
		if r.String() == "" || r.Words() == "" {
			t.Errorf("reason %d has no code or no words", r)
		}
		if o, ok := codes[r.String()]; ok {
			t.Errorf("reasons %d and %d have one code, %q", o, r, r)
		}
		codes[r.String()] = r
		var back Reason
		if err := back.UnmarshalText([]byte(r.String())); err != nil || back != r {
			t.Errorf("%q reads as %v, %v", r, back, err)
		}
	}
	var r Reason
	if err := r.UnmarshalText([]byte("because")); err == nil {
		t.Error("an unknown code was read")
	}
	if got := count.Words(); got != "reason_24" {
		t.Errorf("a reason out of range reads %q", got)
	}
}

func TestInsufficient(t *testing.T) {
	for name, want := range map[string]Reason{"cpus": CPUs, "mem": Mem, "disk": Disk, "ports": Ports, "gpus": GPUs, "bugs": Other} {
		if got := Insufficient(name); got != want {
			t.Errorf("too little %s is %v, want %v", name, got, want)
		}
	}
}
