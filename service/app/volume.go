package app

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoa-kernel/stoa/api/marathon"
)

var (
	volumeFields     = nameSet("containerPath hostPath mode persistent external secret")
	persistentFields = nameSet("type size maxSize profileName constraints")
	externalFields   = nameSet("name provider options size shared")
)

// readVolume tells the kinds apart by their fields. Only a persistent volume may leave out
// its mode: it is always RW.
func readVolume(n node) *marathon.Volume {
	o, ok := n.object(volumeFields)
	if !ok {
		return nil
	}
	v := &marathon.Volume{ContainerPath: or(o.get("containerPath").required().str(), "")}
	mode := o.get("mode")
	switch {
	case o.has("persistent"):
		v.Mode = or(mode.enum("RO", "RW"), "RW")
		v.Persistent = readPersistent(o.get("persistent"))
	case o.has("external"):
		v.Mode = or(mode.required().enum("RO", "RW"), "")
		v.External = readExternal(o.get("external"))
	case o.has("secret"):
		v.Secret = or(o.get("secret").str(), "")
		if v.Secret == "" {
			o.get("secret").wrong("error.minLength")
		}
	default:
		v.Mode = or(mode.required().enum("RO", "RW"), "")
		v.HostPath = or(o.get("hostPath").required().str(), "")
	}
	return v
}

func readPersistent(n node) *marathon.PersistentVolume {
	o, ok := n.object(persistentFields)
	if !ok {
		return nil
	}
	p := &marathon.PersistentVolume{
		Size:        or(o.get("size").required().long(), 0),
		MaxSize:     or(o.get("maxSize").long(), 0),
		ProfileName: or(o.get("profileName").str(), ""),
		Constraints: or(readConstraints(o.get("constraints")), [][]string{}),
	}
	kind := "root"
	if p.ProfileName != "" {
		kind = "mount"
	}
	p.Type = or(o.get("type").enum("root", "path", "mount"), kind)
	return p
}

func readExternal(n node) *marathon.ExternalVolume {
	o, ok := n.object(externalFields)
	if !ok {
		return nil
	}
	e := &marathon.ExternalVolume{
		Name:     or(o.get("name").str(), ""),
		Provider: or(o.get("provider").str(), ""),
		Size:     or(o.get("size").long(), 0),
	}
	if e.Provider == "csi" {
		e.Options = readCSI(o.get("options").required())
		return e
	}
	shared := or(o.get("shared").boolean(), false)
	e.Shared = &shared
	if options := or(o.get("options").labels(), nil); len(options) > 0 {
		e.Options = untyped(options)
	}
	return e
}

func untyped(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

var (
	csiFields        = nameSet("pluginName capability nodeStageSecret nodePublishSecret volumeContext")
	capabilityFields = nameSet("accessMode accessType fsType mountFlags")
)

const singleWriter, multiSingleWriter = "SINGLE_NODE_WRITER", "MULTI_NODE_SINGLE_WRITER"

func readCSI(n node) map[string]any {
	o, ok := n.object(csiFields)
	if !ok {
		return nil
	}
	options := map[string]any{"pluginName": or(o.get("pluginName").required().str(), "")}
	for _, name := range []string{"nodeStageSecret", "nodePublishSecret", "volumeContext"} {
		if m := or(o.get(name).labels(), nil); len(m) > 0 {
			options[name] = untyped(m)
		}
	}
	c, ok := o.get("capability").required().object(capabilityFields)
	if !ok {
		return options
	}
	capability := map[string]any{
		"accessMode": or(c.get("accessMode").required().enum(singleWriter, "SINGLE_NODE_READER_ONLY",
			"MULTI_NODE_READER_ONLY", multiSingleWriter, "MULTI_NODE_MULTI_WRITER"), ""),
		"accessType": or(c.get("accessType").required().enum("block", "mount"), ""),
	}
	if fs := c.get("fsType").str(); fs != nil {
		capability["fsType"] = *fs
	}
	if flags := or(c.get("mountFlags").strings(), nil); len(flags) > 0 {
		list := make([]any, len(flags))
		for i, flag := range flags {
			list[i] = flag
		}
		capability["mountFlags"] = list
	}
	options["capability"] = capability
	return options
}

var (
	labelPattern  = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$`)
	optionPattern = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$`)
)

func (v *verdict) volumes(a *marathon.App) {
	external := map[string]bool{}
	for i := range a.Container.Volumes {
		volume := &a.Container.Volumes[i]
		path := "/container/volumes" + index(i)
		v.notEmpty(path+"/containerPath", volume.ContainerPath)
		switch {
		case volume.Persistent != nil:
			v.persistent(path, volume)
		case volume.External != nil:
			v.external(path, a, volume)
			if name := volume.External.Name; name != "" && external[name] {
				v.add("/container/volumes", "Volume names must be unique")
			} else {
				external[name] = true
			}
		case volume.Secret != "":
			v.when(!v.o.Features["secrets"], "/container", feature("secrets"))
			_, defined := a.Secrets[volume.Secret]
			v.when(!defined, path, "volume.secret must refer to an existing secret")
		default:
			v.notEmpty(path+"/hostPath", volume.HostPath)
		}
	}
}

func (v *verdict) persistent(path string, volume *marathon.Volume) {
	p := volume.Persistent
	if slices.Contains([]string{".", ".."}, volume.ContainerPath) {
		v.add(path+"/containerPath", "can not be one of (.,..)")
	}
	v.when(strings.Contains(volume.ContainerPath, "/"), path+"/containerPath", `value must not contain "/"`)
	v.when(volume.Mode != "RW", path+"/mode", "got "+volume.Mode+", expected RW")
	path += "/persistent"
	v.when(p.Size <= 0, path+"/size", fmt.Sprintf("got %d, expected more than 0", p.Size))
	v.when(p.MaxSize != 0 && p.Type != "mount", path, "Only mount volumes can have maxSize")
	v.when(p.MaxSize != 0 && p.MaxSize <= p.Size, path, "Max size must be larger than size")
	v.when(p.Type == "root" && len(p.Constraints) > 0, path, "Constraints on root volumes are not supported")
	for i, c := range p.Constraints {
		path := path + "/constraints" + index(i)
		switch {
		case len(c) < 2 || len(c) > 3:
			v.add(path, "Each constraint must have either 2 or 3 fields")
		case c[0] != "path" || len(c) == 2:
			v.add(path, "Unsupported constraint "+strings.Join(c, ","))
		case !operators[c[1]]:
			v.add(path, "unknown constraint operator "+c[1])
		case c[1] != "LIKE" && c[1] != "UNLIKE":
			v.add(path, "Operator must be one of LIKE, UNLIKE")
		default:
			if problem := v.regexp(c[2], "Invalid regular expression"); problem != "" {
				v.add(path, problem)
			}
		}
	}
}

func (v *verdict) external(path string, a *marathon.App, volume *marathon.Volume) {
	v.when(!v.o.Features["external_volumes"], path, feature("external_volumes"))
	e := volume.External
	csi := e.Provider == "csi"
	v.when(slices.Contains([]string{".", ".."}, volume.ContainerPath), path+"/containerPath", "can not be one of (.,..)")
	at := path + "/external"
	v.notEmpty(at+"/name", e.Name)
	v.when(e.Size < 0, at+"/size", "is less than 0")
	switch {
	case csi:
		v.csi(path, a, volume)
		return
	case e.Provider == "":
		v.add(at+"/provider", "not defined")
	case e.Provider != "dvdi":
		v.add(at+"/provider", "got "+e.Provider+", expected one of: [csi, dvdi]")
	}
	docker := a.Container.Type == "DOCKER"
	for _, name := range slices.Sorted(maps.Keys(e.Options)) {
		value, _ := e.Options[name].(string)
		v.match(at+"/options", optionPattern, name)
		switch {
		case name == "dvdi/driver":
			v.match(at+`/options("dvdi/driver")`, labelPattern, value)
		case docker:
			v.add(at+"/options", "must only contain dvdi/driver")
		case e.Options["dvdi/driver"] == "rexray":
			v.rexray(at+`/options/"`+name+`"`, name, value)
		}
	}
	if _, given := e.Options["dvdi/driver"]; !given {
		v.add(at+`/options("dvdi/driver")`, "not defined")
	}
	v.when(docker && e.Size != 0, at+"/size", "must be undefined for Docker containers")
	v.when(!docker && volume.Mode != "RW", path+"/mode", "got "+volume.Mode+", expected RW")
	v.when(a.Instances > 1, "/", "Number of instances is limited to 1 when declaring DVDI volumes in app ["+a.ID+"]")
	v.neverOver(a)
}

func (v *verdict) rexray(path, name, value string) {
	switch name {
	case "dvdi/volumetype", "dvdi/newfstype":
		v.match(path, labelPattern, value)
	case "dvdi/iops":
		n, err := strconv.ParseInt(value, 10, 64)
		v.when(err != nil || n <= 0, path, "Expected a valid, positive integer instead of "+value)
	case "dvdi/overwritefs":
		v.when(!strings.EqualFold(value, "true") && !strings.EqualFold(value, "false"), path, "Expected a valid boolean")
	}
}

func (v *verdict) csi(path string, a *marathon.App, volume *marathon.Volume) {
	options := volume.External.Options
	plugin, _ := options["pluginName"].(string)
	v.notEmpty(path+"/external/options/pluginName", plugin)
	capability, _ := options["capability"].(map[string]any)
	mode, _ := capability["accessMode"].(string)
	_, fs := capability["fsType"]
	v.when(capability["accessType"] == "mount" && !fs, path+"/external/options/capability/fsType",
		"must be specified with accessType mount")
	v.when(strings.HasSuffix(mode, "READER_ONLY") && volume.Mode == "RW", path,
		"CSI volume must be mounted readonly with a read-only access mode")
	many := fmt.Sprintf("got %d, expected 1 or less while ", a.Instances)
	switch {
	case a.Instances <= 1:
	case strings.HasPrefix(mode, "SINGLE_NODE"):
		v.add("/instances", many+"non-shareable CSI volumes are defined")
	case mode == multiSingleWriter && volume.Mode == "RW":
		v.add("/instances", many+"a multi-node single-writer volume is defined mounted as read/write")
	}
}
