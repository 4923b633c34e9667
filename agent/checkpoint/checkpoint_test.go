package checkpoint

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	stoapb "github.com/stoa-kernel/stoa/api/stoa/v1"
	"github.com/stoa-kernel/stoa/internal/vfs"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files of this version's format")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// gone is a record that tells n apart, with a body of some size.
func gone(n, size int) *stoapb.LogRecord {
	return &stoapb.LogRecord{Body: &stoapb.LogRecord_ContainerGone{ContainerGone: &stoapb.ContainerGone{
		ContainerId: proto.String(fmt.Sprintf("%06d%s", n, strings.Repeat("x", size)))}}}
}

func numberOf(t testing.TB, r *stoapb.LogRecord) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(r.GetContainerGone().GetContainerId()[:6], "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func numbers(t testing.TB, records []*stoapb.LogRecord) []int {
	t.Helper()
	var ns []int
	for _, r := range records {
		ns = append(ns, numberOf(t, r))
	}
	return ns
}

func batch(t testing.TB, records ...*stoapb.LogRecord) *Batch {
	t.Helper()
	b := &Batch{}
	for _, r := range records {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

const dir = "/agent/log"

func open(t testing.TB, fsys vfs.FS) (*Log, []int) {
	t.Helper()
	l, records, err := Open(fsys, dir, Options{Salt: 7, Chunk: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return l, numbers(t, records)
}

func TestWriteAndReopen(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"memory": vfs.NewMemory(), "os": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			at := dir
			if name == "os" {
				at = filepath.Join(t.TempDir(), "log")
			}
			reopen := func() (*Log, []int) {
				l, records, err := Open(fsys, at, Options{Chunk: 4096})
				if err != nil {
					t.Fatal(err)
				}
				return l, numbers(t, records)
			}
			l, got := reopen()
			if len(got) != 0 {
				t.Fatalf("a new log has %v", got)
			}
			var want []int
			for n := range 200 {
				if err := l.Write(batch(t, gone(n, n*7%501))); err != nil {
					t.Fatal(err)
				}
				want = append(want, n)
				if n == 120 {
					since, snapshot := l.Grown()
					if since < 120*frameSize || snapshot != 0 {
						t.Fatalf("grown %d, %d", since, snapshot)
					}
					if err := l.Compact(batch(t, gone(1000, 3), gone(1001, 9000))); err != nil {
						t.Fatal(err)
					}
					want = []int{1000, 1001}
					if since, snapshot := l.Grown(); since != 0 || snapshot < 9000 {
						t.Fatalf("grown %d, %d", since, snapshot)
					}
				}
			}
			if err := errors.Join(l.Sync(), l.Close()); err != nil {
				t.Fatal(err)
			}
			if l.Write(batch(t, gone(1, 1))) == nil || l.Sync() == nil || l.Compact(&Batch{}) == nil {
				t.Fatal("a closed log took something")
			}
			l, got = reopen()
			if !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
			if names, _ := fsys.List(at); len(names) != 1 {
				t.Fatalf("files %v", names)
			}
			l.Close()
		})
	}
}

// story is what the crash test runs: writes, syncs and two compactions, with records of
// all sizes. It notes in the twin what was asked for and what was confirmed.
func story(t *testing.T, l *Log, rng *rand.Rand, tw *twin) error {
	for n := tw.next; n < tw.next+9; n++ {
		size := rng.IntN(30)
		if rng.IntN(3) == 0 {
			size = rng.IntN(3000)
		}
		tw.written = append(tw.written, n)
		if err := l.Write(batch(t, gone(n, size))); err != nil {
			return err
		}
		switch rng.IntN(5) {
		case 0, 1:
			if err := l.Sync(); err != nil {
				return err
			}
			tw.durable = len(tw.written)
		case 2:
			// The snapshot keeps every second record, so that old and new differ.
			var kept []int
			b := &Batch{}
			for i, k := range tw.written {
				if i%2 == 0 {
					kept = append(kept, k)
					b.Add(gone(k, rng.IntN(900)))
				}
			}
			tw.compacting = kept
			if err := l.Compact(b); err != nil {
				return err
			}
			tw.written, tw.durable, tw.compacting = kept, len(kept), nil
		}
	}
	return nil
}

// twin is the log as a list: what may come back is a prefix of written with at least
// the durable ones, or while compacting exactly the snapshot.
type twin struct {
	next       int
	written    []int
	durable    int
	compacting []int
}

func (tw *twin) allows(got []int) bool {
	if tw.compacting != nil && slices.Equal(got, tw.compacting) {
		return true
	}
	return len(got) >= tw.durable && len(got) <= len(tw.written) && slices.Equal(got, tw.written[:len(got)])
}

// TestCrash loses power, kills the process or fails a call at every single operation of
// the story, and then again at every operation of a second life.
func TestCrash(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	var crashes, torn int
	for seed := range seeds {
		for at := 1; ; at++ {
			m := vfs.NewMemory()
			rng := rand.New(rand.NewPCG(seed, uint64(at)))
			tw := &twin{}
			ended := false
			for life := range 3 {
				ops, limit := 0, at
				if life == 1 {
					limit = 1 + rng.IntN(40)
				}
				m.Hook = func(vfs.Op) error {
					if ops++; ops == limit && life < 2 {
						m.PowerOff()
						return vfs.ErrDown
					}
					return nil
				}
				l, records, err := Open(m, dir, Options{Salt: seed, Chunk: 1024, Logger: slog.New(slog.NewTextHandler(counter{&torn}, nil))})
				if err == nil {
					got := numbers(t, records)
					if !tw.allows(got) {
						t.Fatalf("seed %d, crash at %d, life %d: recovered %v\nwritten %v, %d of them durable, compacting %v",
							seed, at, life, got, tw.written, tw.durable, tw.compacting)
					}
					*tw = twin{next: tw.next, written: got, durable: len(got)}
					if life == 2 {
						break
					}
					err = story(t, l, rng, tw)
					tw.next += 9
				}
				if life == 0 && err == nil {
					ended = true
				}
				if err != nil && !errors.Is(err, vfs.ErrDown) {
					t.Fatalf("seed %d, crash at %d, life %d: %v", seed, at, life, err)
				}
				crashes++
				if rng.IntN(4) == 0 {
					m.Kill()
				} else {
					m.Restart(rng)
				}
			}
			if ended {
				break
			}
		}
	}
	t.Logf("%d crashes, %d torn tails", crashes, torn)
	if torn == 0 {
		t.Fatal("no crash tore the log")
	}
}

// counter counts log lines.
type counter struct{ n *int }

func (c counter) Write(p []byte) (int, error) { *c.n++; return len(p), nil }
