package master

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	mesos "github.com/stoa-kernel/stoa/api/mesos/v1"
	"github.com/stoa-kernel/stoa/internal/listen"
	"google.golang.org/protobuf/proto"
)

// unacknowledged is for how long sent bytes may stay unacknowledged: a peer that vanished
// without a word is noticed by the first heartbeat after it.
const unacknowledged = 45 * time.Second

// openListener opens the address. Off loopback it refuses unless told otherwise: there is
// no authentication yet, and whoever reaches this API runs commands on every agent.
func openListener(ctx context.Context, address string, remote bool) (net.Listener, error) {
	api := listen.API{Example: "127.0.0.1:5050", Danger: "the master can run commands on every agent",
		Remote: remote, Unacknowledged: unacknowledged}
	if _, _, err := api.Split(ctx, address); err != nil {
		return nil, err
	}
	return api.Open(ctx, address)
}

// address is where others reach this master.
type address struct {
	host string // a name or an IP
	ip   net.IP
	port int
}

func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// advertised is what is told to frameworks: what was configured, else the address
// listened on, else the machine's name.
func advertised(ctx context.Context, configured string, l net.Listener) (address, error) {
	bound, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return address{}, fmt.Errorf("%v is not a TCP address", l.Addr())
	}
	a := address{port: bound.Port}
	switch {
	case configured != "":
		a.host = configured
		if host, port, err := net.SplitHostPort(configured); err == nil {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil {
				return address{}, fmt.Errorf("advertise %q: expecting host or host:port", configured)
			}
			a.host, a.port = host, int(n)
		}
	case !bound.IP.IsUnspecified():
		a.host = bound.IP.String()
	default:
		name, err := os.Hostname()
		if err != nil {
			return address{}, fmt.Errorf("advertise: %w: say which address others reach this master at", err)
		}
		a.host = name
	}
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", a.host)
	if err != nil {
		return address{}, fmt.Errorf("advertise %s: %w: say an address others reach this master at", a.host, err)
	}
	a.ip = ips[0]
	for _, ip := range ips {
		if ip.To4() != nil {
			a.ip = ip
			break
		}
	}
	return a, nil
}

// masterInfo is what SUBSCRIBED and GET_MASTER tell.
func masterInfo(id, version string, a address) *mesos.MasterInfo {
	info := &mesos.MasterInfo{
		Id:       proto.String(id),
		Ip:       proto.Uint32(0),
		Port:     proto.Uint32(uint32(a.port)),
		Pid:      proto.String("master@" + net.JoinHostPort(a.ip.String(), strconv.Itoa(a.port))),
		Hostname: proto.String(a.host),
		Version:  proto.String(version),
		Address: &mesos.Address{
			Hostname: proto.String(a.host), Ip: proto.String(a.ip.String()), Port: proto.Int32(int32(a.port)),
		},
		// QUOTA_V2 stays out: mesos-go v0.0.11 cannot read JSON that has it.
		Capabilities: []*mesos.MasterInfo_Capability{{Type: mesos.MasterInfo_Capability_AGENT_UPDATE.Enum()}},
	}
	if four := a.ip.To4(); four != nil {
		// The bytes of the address as they stand in memory, as Mesos writes them.
		info.Ip = proto.Uint32(binary.LittleEndian.Uint32(four))
	}
	return info
}
