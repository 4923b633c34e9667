package resource

import (
	"testing"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

func TestShrink(t *testing.T) {
	bag := mustOf(t,
		scalar("cpus", 4000), scalar("mem", 1000000), scalar("disk", 100000),
		source(scalar("disk", 30000), mesos.Resource_DiskInfo_Source_PATH, "/p"),
		source(scalar("disk", 50000), mesos.Resource_DiskInfo_Source_MOUNT, "/m"),
		withRevocable(scalar("cpus", 9000)), withStack(scalar("cpus", 7000), static("r")),
	).Add(mustParse(t, "ports:[1-9]"))
	rest := "; cpus(reservations: [(STATIC,r)]):7"
	disks := "; disk:100; disk[PATH:/p]:30; disk[MOUNT:/m]:50; ports:[1-9]"
	for _, c := range []struct {
		name  string
		limit Quantities
		want  string
	}{
		{"no limit", nil, bag.String()},
		{"limits above all", Quantities{{"cpus", 4000}, {"disk", 180000}, {"gpus", 0}}, bag.String()},
		{"cpus", Quantities{{"cpus", 1500}}, "cpus:1.5; cpus{REV}:9" + rest + "; mem:1000" + disks},
		{"no cpus", Quantities{{"cpus", 0}}, "cpus{REV}:9" + rest + "; mem:1000" + disks},
		{"negative", Quantities{{"cpus", -5}}, "cpus{REV}:9" + rest + "; mem:1000" + disks},
		{"no mem", Quantities{{"mem", 0}}, "cpus:4; cpus{REV}:9" + rest + disks},
		{"mount goes whole", Quantities{{"disk", 179999}}, "cpus:4; cpus{REV}:9" + rest + "; mem:1000; disk:100; disk[PATH:/p]:30; ports:[1-9]"},
		{"path is cut", Quantities{{"disk", 120000}}, "cpus:4; cpus{REV}:9" + rest + "; mem:1000; disk:100; disk[PATH:/p]:20; ports:[1-9]"},
		{"plain is cut", Quantities{{"disk", 60000}}, "cpus:4; cpus{REV}:9" + rest + "; mem:1000; disk:60; ports:[1-9]"},
		{"ranges are not cut", Quantities{{"ports", 0}}, bag.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := bag.Shrink(c.limit)
			checkForm(t, got)
			if got.String() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if got := mustParse(t, "cpus:4").Shrink(Quantities{{"cpus", 0}}); !got.Empty() || got.items != nil {
		t.Errorf("all cut away is %v", got)
	}
}
