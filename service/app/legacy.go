package app

import (
	"reflect"

	"github.com/stoa-kernel/stoa/api/marathon"
)

// legacy is what a document says in forms that Marathon left behind in 1.5. It is
// translated as Marathon 1.10 does (docs/upgrade/network-api-migration), for creation and
// update alike; only the defaults differ, see finish.
type legacy struct {
	container *oldContainer
	ipAddress *ipAddress
	ports     *[]int
	uris      *[]string
}

// bridgeName is what ipAddress.networkName calls the bridge (Marathon's
// --mesos_bridge_name).
const bridgeName = "mesos-bridge"

// modernise turns old forms into new ones, and notes where a document has both.
func (d *Draft) modernise(l legacy) {
	d.modernFetch(l)
	d.modernPorts(l)
	d.modernNetworks(l)
	d.modernContainer(l)
}

func (d *Draft) modernFetch(l legacy) {
	if l.uris == nil || len(*l.uris) == 0 {
		return
	}
	var fetch []marathon.Artifact
	for i, uri := range *l.uris {
		if len(uri) <= maxWord && !validURI(uri) {
			d.fault("/uris"+index(i), "URI has invalid syntax.")
			continue
		}
		fetch = append(fetch, marathon.Artifact{URI: uri, Extract: archive(uri)})
	}
	if d.fetch != nil && len(*d.fetch) > 0 {
		d.fault("/uris", "may not be set in conjunction with fetch")
		return
	}
	d.fetch = &fetch
}

func (d *Draft) modernPorts(l legacy) {
	if l.ports != nil {
		used := map[int]bool{}
		definitions := []marathon.PortDefinition{}
		for _, port := range *l.ports {
			if port != 0 && used[port] {
				d.fault("/", "ports must be unique")
			}
			used[port] = true
			definitions = append(definitions, marathon.PortDefinition{Port: port, Protocol: "tcp"})
		}
		switch {
		case d.portDefinitions == nil:
			d.portDefinitions = &definitions
		case !samePorts(*d.portDefinitions, definitions):
			d.fault("/", "cannot specify both ports and port definitions")
		}
	}
	if l.ipAddress != nil && d.portDefinitions != nil && len(*d.portDefinitions) > 0 {
		d.fault("/", "cannot specify both an IP address and port")
	}
}

func samePorts(a, b []marathon.PortDefinition) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Port != b[i].Port {
			return false
		}
	}
	return true
}

func (d *Draft) modernNetworks(l legacy) {
	kind := ""
	if l.container != nil {
		kind = l.container.network
	}
	given := d.networks != nil && len(*d.networks) > 0
	if given && kind != "" {
		d.fault("/", "must not specify both container.docker.network and networks")
	}
	if given && l.ipAddress != nil {
		d.fault("/", "must not specify both networks and ipAddress")
	}
	if given || kind == "" && l.ipAddress == nil {
		return
	}
	var n marathon.Network
	if l.ipAddress != nil {
		n.Labels = l.ipAddress.labels
	}
	switch kind {
	case "HOST":
		n = marathon.Network{Mode: marathon.HostNetwork}
	case "BRIDGE":
		n.Mode = marathon.BridgeNetwork
	case "USER", "":
		n.Mode = marathon.ContainerNetwork
		if l.ipAddress != nil {
			n.Name = l.ipAddress.network
		}
		if kind == "" && n.Name == bridgeName {
			n.Mode, n.Name = marathon.BridgeNetwork, ""
		}
	default:
		d.fault("/container/docker/network", "unsupported docker network type "+kind)
		return
	}
	d.networks = &[]marathon.Network{n}
}

func (d *Draft) modernContainer(l legacy) {
	old := l.container
	if old == nil {
		if l.ipAddress == nil {
			return
		}
		old = &oldContainer{Container: marathon.Container{Type: "MESOS"}}
	}
	c := old.Container
	const docker = "/container/docker/"
	if old.credential {
		d.fault(docker+"credential", "must be empty")
	}
	if c.Type == "MESOS" && c.Docker != nil {
		if old.network != "" {
			d.fault(docker+"network", "must be empty")
		}
		if len(c.Docker.Parameters) > 0 {
			d.fault(docker+"parameters", "must be empty")
		}
		if old.mappings != nil {
			d.fault(docker+"portMappings", "must be empty")
		}
	}
	if old.mappings != nil {
		switch {
		case c.PortMappings == nil:
			c.PortMappings = *old.mappings
		case len(*old.mappings) > 0 && !reflect.DeepEqual(c.PortMappings, *old.mappings):
			d.fault("/container/portMappings", "cannot specify both portMappings and docker.portMappings")
		}
	}
	if ip := l.ipAddress; ip != nil && ip.discovery {
		switch {
		case c.Type == "DOCKER":
			d.fault("/ipAddress", "ipAddress/discovery is not allowed for Docker containers")
		case len(ip.ports) > 0 && len(c.PortMappings) > 0:
			d.fault("/container/portMappings", "container.portMappings and ipAddress.discovery.ports must not both be set")
		case len(ip.ports) > 0:
			c.PortMappings = ip.ports
		}
	}
	d.container = &c
}
