package state

import (
	"path"
	"slices"
	"strings"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// environment of an executor's process, KEY=VALUE and sorted (as Mesos 1.11,
// executorEnvironment in src/slave/slave.cpp). Every executor is told that it is
// checkpointed, whatever FrameworkInfo.checkpoint says, because every task is. What
// the framework sets wins, except MESOS_ALLOCATION_ROLE of a task.
func (a *Agent) environment(e *executor, command *mesos.CommandInfo, role string) []string {
	grace := a.cfg.ExecutorShutdownGrace
	if p := e.info.GetShutdownGracePeriod(); p != nil {
		grace = time.Duration(p.GetNanoseconds())
	}
	sandbox := a.sandboxPath(e)
	env := map[string]string{
		"LIBPROCESS_PORT":                      "0",
		"MESOS_FRAMEWORK_ID":                   string(e.framework.id),
		"MESOS_EXECUTOR_ID":                    string(e.id),
		"MESOS_DIRECTORY":                      sandbox,
		"MESOS_SANDBOX":                        sandbox,
		"MESOS_SLAVE_ID":                       string(a.ID()),
		"MESOS_SLAVE_PID":                      "slave(1)@" + a.cfg.Endpoint,
		"MESOS_AGENT_ENDPOINT":                 a.cfg.Endpoint,
		"MESOS_CHECKPOINT":                     "1",
		"MESOS_HTTP_COMMAND_EXECUTOR":          "1",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": durationText(grace),
		"MESOS_RECOVERY_TIMEOUT":               durationText(a.cfg.RecoveryTimeout),
		"MESOS_SUBSCRIPTION_BACKOFF_MAX":       durationText(a.cfg.ExecutorReregistrationTimeout),
	}
	if a.cfg.Path != "" {
		env["PATH"] = a.cfg.Path
	}
	for _, v := range command.GetEnvironment().GetVariables() {
		env[v.GetName()] = v.GetValue()
	}
	if e.command && role != "" {
		env["MESOS_ALLOCATION_ROLE"] = role
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// sandboxPath is where tools expect an executor's sandbox (as Mesos 1.11,
// src/slave/paths.cpp).
func (a *Agent) sandboxPath(e *executor) string {
	return path.Join(a.cfg.WorkDir, "slaves", string(a.ID()), "frameworks", string(e.framework.id),
		"executors", string(e.id), "runs", string(e.container))
}

// pathSafe reports whether an id can be a directory's name. The master refuses
// others; the agent does not rely on it.
func pathSafe(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\x00")
}
