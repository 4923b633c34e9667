package resource

import "testing"

func mustParse(tb testing.TB, text string) Resources {
	tb.Helper()
	r, err := Parse(text, "*")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

const (
	agentText = "cpus:32;mem:131072;disk:1048576;ports:[31000-31499,31600-32000]"
	taskText  = "cpus:0.5;mem:256;disk:10;ports:[31700-31701]"
)

func BenchmarkAdd(b *testing.B) {
	agent, task := mustParse(b, agentText), mustParse(b, "cpus:0.5;mem:256;disk:10;ports:[30000-30001]")
	b.ReportAllocs()
	for b.Loop() {
		agent.Add(task)
	}
}

func BenchmarkAddScalars(b *testing.B) {
	agent, task := mustParse(b, "cpus:32;mem:131072"), mustParse(b, "cpus:0.5;mem:256")
	b.ReportAllocs()
	for b.Loop() {
		agent.Add(task)
	}
}

func BenchmarkAddReserved(b *testing.B) {
	agent, task := mustParse(b, "cpus(r):32;mem(r):131072;cpus:1;mem:1"), mustParse(b, "cpus(r):0.5;mem(r):256")
	b.ReportAllocs()
	for b.Loop() {
		agent.Add(task)
	}
}

func BenchmarkSub(b *testing.B) {
	agent, task := mustParse(b, agentText), mustParse(b, taskText)
	b.ReportAllocs()
	for b.Loop() {
		agent.Sub(task)
	}
}

func BenchmarkContains(b *testing.B) {
	agent, task := mustParse(b, agentText), mustParse(b, taskText)
	b.ReportAllocs()
	for b.Loop() {
		if !agent.Contains(task) {
			b.Fatal("does not contain")
		}
	}
}

func BenchmarkAllocate(b *testing.B) {
	agent := mustParse(b, agentText)
	b.ReportAllocs()
	for b.Loop() {
		agent.Allocate("role")
	}
}

func BenchmarkAllocatableTo(b *testing.B) {
	agent := mustParse(b, agentText+";cpus(a):1;mem(b):1")
	b.ReportAllocs()
	for b.Loop() {
		agent.AllocatableTo("a/c")
	}
}

func BenchmarkQuantities(b *testing.B) {
	agent := mustParse(b, agentText)
	b.ReportAllocs()
	for b.Loop() {
		agent.Quantities()
	}
}

func BenchmarkOf(b *testing.B) {
	protos := mustParse(b, taskText).ProtoFor(false, true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Of(protos...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProto(b *testing.B) {
	task := mustParse(b, taskText).Allocate("role")
	b.ReportAllocs()
	for b.Loop() {
		task.Proto()
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		mustParse(b, taskText)
	}
}
