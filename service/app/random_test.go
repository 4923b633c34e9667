package app

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// fragments are values that a field may have, most of them right.
var fragments = map[string][]string{
	"cmd": {`"x"`, `"x"`, `null`}, "args": {`["a","b"]`, `[]`},
	"cpus": {`0.1`, `2`}, "mem": {`32`, `0`}, "disk": {`1.5`}, "instances": {`0`, `1`, `5`}, "gpus": {`0`, `1`},
	"env":    {`{}`, `{"A":"1","B":{"secret":"s"}}`, `{"A":""}`},
	"labels": {`{}`, `{"a":"b"}`, `{"MARATHON_SINGLE_INSTANCE_APP":"true"}`}, "secrets": {`{}`, `{"s":{"source":"x"}}`},
	"resourceLimits":        {`{}`, `{"cpus":"unlimited"}`, `{"mem":500,"cpus":4}`},
	"executor":              {`""`, `"//cmd"`},
	"executorResources":     {`{}`, `{"cpus":1}`},
	"constraints":           {`[]`, `[["a","unique"]]`, `[["b","LIKE","x"],["a","GROUP_BY"],["b","LIKE","x"]]`},
	"acceptedResourceRoles": {`["*"]`, `["*","dev","*"]`}, "role": {`"dev"`, `"*"`},
	"fetch": {`[]`, `[{"uri":"http://a/b.zip","destPath":"x"}]`}, "uris": {`[]`, `["http://a/b.tgz"]`},
	"networks":        {`[]`, `[{"mode":"host"}]`, `[{"mode":"container/bridge","labels":{"a":"b"}}]`, `[{}]`, `[{"name":"a"},{"name":"b"}]`},
	"portDefinitions": {`[]`, `[{}]`, `[{"port":80,"name":"http-api","labels":{}},{"labels":{"a":"b"},"protocol":"udp"}]`},
	"ports":           {`[]`, `[0,80]`}, "requirePorts": {`true`, `false`},
	"ipAddress": {`{}`, `{"networkName":"mesos-bridge"}`, `{"networkName":"n","labels":{"a":"b"},"discovery":{"ports":[{"name":"a"}]}}`},
	"container": {
		`{"type":"MESOS"}`, `{"docker":{"image":"i"}}`, `{"type":"MESOS","docker":{"image":"i"},"linuxInfo":{}}`,
		`{"docker":{"image":"i","network":"USER","portMappings":[{"containerPort":80}],"privileged":true}}`,
		`{"docker":{"image":"i","network":"HOST","parameters":[{"key":"a","value":"b"}]},"linuxInfo":{"seccomp":{"unconfined":true}}}`,
		`{"type":"MESOS","portMappings":[],"volumes":[{"containerPath":"a","hostPath":"b","mode":"ro"}]}`,
		`{"type":"MESOS","portMappings":[{"hostPort":0,"networkNames":["a"],"labels":{"x":"y"},"name":"http-api"},{}]}`,
		`{"type":"MESOS","volumes":[{"containerPath":"d","persistent":{"size":1,"profileName":"p","constraints":[["path","like","x"]]}}]}`,
		`{"type":"MESOS","volumes":[{"containerPath":"d","mode":"RW","external":{"name":"n","provider":"dvdi","options":{"dvdi/driver":"d"}}}]}`,
		`{"type":"MESOS","volumes":[{"containerPath":"d","secret":"s"}]}`,
	},
	"healthChecks": {
		`[]`, `[{}]`, `[{},{"protocol":"TCP","port":1,"path":"/"},{}]`, `[{"protocol":"COMMAND","command":{"value":"x"},"port":1}]`,
		`[{"protocol":"MESOS_HTTPS","path":"/x","ignoreHttp1xx":true,"delaySeconds":1}]`, `[{"protocol":"COMMAND","command":{"argv":["x"]}}]`,
	},
	"check":           {`{"tcp":{}}`, `{"http":{"path":"/x","port":1}}`, `{"exec":{"command":{"shell":"x"}}}`, `{"exec":{"command":{"argv":["x"]}}}`},
	"readinessChecks": {`[]`, `[{"portName":"default"}]`, `[{}]`},
	"backoffSeconds":  {`0`, `7`}, "backoffFactor": {`1`, `2.5`}, "maxLaunchDelaySeconds": {`1`},
	"upgradeStrategy": {
		`{}`, `{"minimumHealthCapacity":0,"maximumOverCapacity":0}`, `{"drainSeconds":1.5,"maxParallel":2,"deadlineSeconds":9}`,
		`{"canary":{"pauseSeconds":1}}`, `{"blueGreen":{"promotion":"auto","keepOldSeconds":5}}`,
	},
	"taskKillGracePeriodSeconds": {`0`, `9`}, "killSelection": {`"OLDEST_FIRST"`, `"youngest_first"`},
	"unreachableStrategy": {`"disabled"`, `{}`, `{"inactiveAfterSeconds":1,"expungeAfterSeconds":2}`},
	"residency":           {`{}`, `{"taskLostBehavior":"WAIT_FOREVER"}`}, "tty": {`true`, `false`}, "user": {`"u"`, `""`},
	"dependencies":  {`[]`, `["/a"]`, `["b","/c","/b"]`},
	"restartPolicy": {`"ALWAYS"`, `"NEVER"`}, "restartPolicyOnChange": {`"always"`, `"if-needed"`},
	"scaling": {`{"kind":"fixed"}`, `{"kind":"per-agent"}`}, "preStop": {`{}`, `{"command":"x"}`, `{"http":{}}`},
}

func randomDocument(r *rand.Rand, fields []string) []byte {
	var b strings.Builder
	b.WriteString(`{"id":"/g/a"`)
	some := r.IntN(10)
	for _, name := range fields {
		if r.IntN(12) < some && r.IntN(2) == 0 {
			values := fragments[name]
			b.WriteString(`,"` + name + `":` + values[r.IntN(len(values))])
		}
	}
	return []byte(b.String() + "}")
}

// Whatever is accepted survives being stored and sent back, and merging keeps what the
// update leaves out.
func TestRandomDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fields := sortedKeys(fragments)
	o := settings([]string{"secrets", "gpu_resources", "external_volumes"})
	var olds []*marathon.App
	merged := 0
	for range 5_000 {
		doc := randomDocument(r, fields)
		d := decode(t, doc)
		if a, wrong := d.build("/g/a", o); len(wrong)+len(validate(withRoot(a), o)) == 0 {
			stays(t, a, o)
			olds = append(olds, a)
		}
		if len(olds) == 0 {
			continue
		}
		old := olds[r.IntN(len(olds))]
		if a, wrong := d.merge(old, o); len(wrong)+len(validate(withRoot(a), o)) == 0 {
			stays(t, a, o)
			merged++
			// Leaving host mode makes ports of definitions, which are gone afterwards.
			if again, _ := d.merge(a, o); onHost(old) == onHost(a) && !sameConfig(withRoot(again), a) {
				t.Errorf("%s: a second time makes another\n%s\n%s", doc, asJSON(a), asJSON(again))
			}
		}
		if t.Failed() {
			t.Fatalf("%s", doc)
		}
	}
	if len(olds) < 250 || merged < 250 {
		t.Errorf("only %d accepted, %d merged", len(olds), merged)
	}
}
