package protocol

const (
	flagSwitchUser = 1 << iota
	flagNoNewPrivileges
	flagResetOOMScore
	flagSetBounding
	flagSetEffective
)

// Append encodes d; its length must not exceed MaxDescription.
func (d *Description) Append(b []byte) []byte {
	flags := bit(d.SwitchUser, flagSwitchUser) | bit(d.NoNewPrivileges, flagNoNewPrivileges) |
		bit(d.ResetOOMScore, flagResetOOMScore) | bit(d.SetBounding, flagSetBounding) | bit(d.SetEffective, flagSetEffective)
	b = append32(b, flags)
	b = append32(b, d.UID)
	b = append32(b, d.GID)
	b = append32(b, d.LogCount)
	b = append64(b, uint64(d.LogSize))
	b = append64(b, d.Bounding)
	b = append64(b, d.Effective)
	b = appendString(b, d.Sandbox)
	b = appendString(b, d.Cgroup)
	b = appendStrings(b, d.Paths)
	b = appendStrings(b, d.Argv)
	b = appendStrings(b, d.Env)
	b = appendStrings(b, d.Tasks)
	b = append32(b, uint32(len(d.Groups)))
	for _, g := range d.Groups {
		b = append32(b, g)
	}
	b = append32(b, uint32(len(d.Rlimits)))
	for _, r := range d.Rlimits {
		b = append32(b, r.Resource)
		b = append64(b, r.Soft)
		b = append64(b, r.Hard)
	}
	b = append32(b, uint32(len(d.Mounts)))
	for _, m := range d.Mounts {
		b = append32(b, bit(m.ReadOnly, 1))
		b = appendString(b, m.Source)
		b = appendString(b, m.Target)
	}
	return b
}

// Parse decodes what Append encoded; ok is false for anything else.
func (d *Description) Parse(b []byte) (ok bool) {
	r := reader{rest: b}
	flags := r.uint32()
	d.SwitchUser = flags&flagSwitchUser != 0
	d.NoNewPrivileges = flags&flagNoNewPrivileges != 0
	d.ResetOOMScore = flags&flagResetOOMScore != 0
	d.SetBounding = flags&flagSetBounding != 0
	d.SetEffective = flags&flagSetEffective != 0
	d.UID = r.uint32()
	d.GID = r.uint32()
	d.LogCount = r.uint32()
	d.LogSize = int64(r.uint64())
	d.Bounding = r.uint64()
	d.Effective = r.uint64()
	d.Sandbox = r.string()
	d.Cgroup = r.string()
	d.Paths = r.strings()
	d.Argv = r.strings()
	d.Env = r.strings()
	d.Tasks = r.strings()
	d.Groups = make([]uint32, r.count(4))
	for i := range d.Groups {
		d.Groups[i] = r.uint32()
	}
	d.Rlimits = make([]Rlimit, r.count(20))
	for i := range d.Rlimits {
		d.Rlimits[i] = Rlimit{r.uint32(), r.uint64(), r.uint64()}
	}
	d.Mounts = make([]Mount, r.count(12))
	for i := range d.Mounts {
		readOnly := r.uint32() != 0
		d.Mounts[i] = Mount{r.string(), r.string(), readOnly}
	}
	return !r.bad && len(r.rest) == 0
}

func bit(set bool, b uint32) uint32 {
	if set {
		return b
	}
	return 0
}

func append32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

func append64(b []byte, v uint64) []byte {
	return append32(append32(b, uint32(v)), uint32(v>>32))
}

func appendString(b []byte, s string) []byte {
	return append(append32(b, uint32(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = append32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func get32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func get64(b []byte) uint64 { return uint64(get32(b)) | uint64(get32(b[4:]))<<32 }

// reader takes values off rest; once something is missing it is bad and all that
// follows is zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return get32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return get64(b)
	}
	return 0
}

func (r *reader) string() string { return string(r.take(int(r.uint32()))) }

// count reads the length of a list whose elements take at least size bytes each, so
// that no list is made which could not be filled.
func (r *reader) count(size int) int {
	n := int(r.uint32())
	if n < 0 || n > len(r.rest)/size {
		r.bad, r.rest = true, nil
		return 0
	}
	return n
}

func (r *reader) strings() []string {
	list := make([]string, r.count(4))
	for i := range list {
		list[i] = r.string()
	}
	return list
}
