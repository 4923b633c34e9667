package validate

import (
	"fmt"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// TaskUnsupported names what a valid task asks for and this version cannot do yet. Such a
// task ends TASK_ERROR: it is never launched without what it asked for.
func TaskUnsupported(t *mesos.TaskInfo) error {
	if t.Command != nil { // a custom executor's task is checked by its executor
		if err := checkUnsupported("TaskInfo.health_check.command", t.HealthCheck.GetCommand()); err != nil {
			return err
		}
		if err := checkUnsupported("TaskInfo.check.command.command", t.Check.GetCommand().GetCommand()); err != nil {
			return err
		}
	}
	if err := commandUnsupported("TaskInfo.command", t.Command); err != nil {
		return err
	}
	if err := containerUnsupported("TaskInfo.container", t.Container); err != nil {
		return err
	}
	if e := t.Executor; e != nil {
		if err := commandUnsupported("TaskInfo.executor.command", e.Command); err != nil {
			return err
		}
		return containerUnsupported("TaskInfo.executor.container", e.Container)
	}
	return nil
}

// checkUnsupported: a check's command runs as the task's user, in its sandbox.
func checkUnsupported(path string, c *mesos.CommandInfo) error {
	switch {
	case c.GetUser() != "":
		return unsupported(path + ".user")
	case len(c.GetUris()) > 0:
		return unsupported(path + ".uris")
	}
	return commandUnsupported(path, c)
}

func commandUnsupported(path string, c *mesos.CommandInfo) error {
	for _, v := range c.GetEnvironment().GetVariables() {
		if v.GetType() == mesos.Environment_Variable_SECRET {
			return unsupported(path + ".environment.variables.secret")
		}
	}
	return nil
}

func containerUnsupported(path string, c *mesos.ContainerInfo) error {
	switch {
	case c == nil:
		return nil
	case c.GetType() == mesos.ContainerInfo_DOCKER || c.Docker != nil:
		return unsupported(path + ".docker")
	case c.GetMesos().GetImage() != nil:
		return unsupported(path + ".mesos.image")
	case len(c.NetworkInfos) > 0:
		return unsupported(path + ".network_infos")
	case c.TtyInfo != nil:
		return unsupported(path + ".tty_info")
	}
	for _, v := range c.Volumes {
		if v.Image != nil {
			return unsupported(path + ".volumes.image")
		}
		switch v.GetSource().GetType() {
		case mesos.Volume_Source_DOCKER_VOLUME:
			return unsupported(path + ".volumes.source.docker_volume")
		case mesos.Volume_Source_SECRET:
			return unsupported(path + ".volumes.source.secret")
		case mesos.Volume_Source_CSI_VOLUME:
			return unsupported(path + ".volumes.source.csi_volume")
		}
	}
	return nil
}

// OperationUnsupported names the operation of a valid Offer.Operation that this version
// cannot do yet.
func OperationUnsupported(op *mesos.Offer_Operation) error {
	switch op.GetType() {
	case mesos.Offer_Operation_LAUNCH_GROUP:
		return unsupported("Offer.Operation.launch_group")
	case mesos.Offer_Operation_GROW_VOLUME:
		return unsupported("Offer.Operation.grow_volume")
	case mesos.Offer_Operation_SHRINK_VOLUME:
		return unsupported("Offer.Operation.shrink_volume")
	case mesos.Offer_Operation_CREATE_DISK:
		return unsupported("Offer.Operation.create_disk")
	case mesos.Offer_Operation_DESTROY_DISK:
		return unsupported("Offer.Operation.destroy_disk")
	}
	return nil
}

func unsupported(field string) error {
	return fmt.Errorf("'%s' is not supported by this version of Stoa", field)
}
