package validate

import (
	"bytes"
	"errors"
	"fmt"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
)

// command checks a CommandInfo: its environment.
func command(c *mesos.CommandInfo) error {
	for _, v := range c.GetEnvironment().GetVariables() {
		if err := variable(v); err != nil {
			return fmt.Errorf("environment variable '%s': %w", v.GetName(), err)
		}
	}
	return nil
}

func variable(v *mesos.Environment_Variable) error {
	switch v.GetType() {
	case mesos.Environment_Variable_VALUE:
		if v.Value == nil {
			return errors.New("type 'VALUE' needs 'value'")
		}
		if v.Secret != nil {
			return errors.New("type 'VALUE' must not have 'secret'")
		}
	case mesos.Environment_Variable_SECRET:
		if v.Secret == nil {
			return errors.New("type 'SECRET' needs 'secret'")
		}
		if v.Value != nil {
			return errors.New("type 'SECRET' must not have 'value'")
		}
		if bytes.IndexByte(v.Secret.GetValue().GetData(), 0) >= 0 {
			return errors.New("its secret contains a zero byte")
		}
		return secret(v.Secret)
	default:
		return errors.New("unknown type")
	}
	return nil
}

func secret(s *mesos.Secret) error {
	switch s.GetType() {
	case mesos.Secret_REFERENCE:
		if s.Reference == nil || s.Value != nil {
			return errors.New("a secret of type REFERENCE needs 'reference' and no 'value'")
		}
	case mesos.Secret_VALUE:
		if s.Value == nil || s.Reference != nil {
			return errors.New("a secret of type VALUE needs 'value' and no 'reference'")
		}
	}
	return nil
}

// container checks a ContainerInfo: its volumes, and DockerInfo where it is needed.
func container(c *mesos.ContainerInfo) error {
	for _, v := range c.Volumes {
		if err := volume(v); err != nil {
			return fmt.Errorf("volume '%s': %w", v.GetContainerPath(), err)
		}
	}
	if c.GetType() != mesos.ContainerInfo_DOCKER {
		return nil
	}
	if c.Docker == nil {
		return errors.New("type 'DOCKER' needs 'docker'")
	}
	for _, p := range c.Docker.Parameters {
		if p.GetKey() == "name" {
			return errors.New("'docker.parameters' must not have 'name'")
		}
	}
	return nil
}

func volume(v *mesos.Volume) error {
	n := 0
	if v.HostPath != nil {
		n++
	}
	if v.Image != nil {
		n++
	}
	if v.Source != nil {
		n++
	}
	if n != 1 {
		return errors.New("exactly one of 'host_path', 'image' and 'source' must be set")
	}
	if v.Source == nil {
		return nil
	}
	field, present := "", true
	switch v.Source.GetType() {
	case mesos.Volume_Source_DOCKER_VOLUME:
		field, present = "docker_volume", v.Source.DockerVolume != nil
	case mesos.Volume_Source_HOST_PATH:
		field, present = "host_path", v.Source.HostPath != nil
	case mesos.Volume_Source_SANDBOX_PATH:
		field, present = "sandbox_path", v.Source.SandboxPath != nil
	case mesos.Volume_Source_SECRET:
		field, present = "secret", v.Source.Secret != nil
	case mesos.Volume_Source_CSI_VOLUME:
		field, present = "csi_volume.static_provisioning", v.Source.GetCsiVolume().GetStaticProvisioning() != nil
	default:
		return errors.New("'source.type' is unknown")
	}
	if !present {
		return fmt.Errorf("'source.%s' must be set for a volume of type %s", field, v.Source.GetType())
	}
	return nil
}
