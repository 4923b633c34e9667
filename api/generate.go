// Package api is the wire: what crosses the border of a process. It has no behaviour. Below
// mesos/v1 are the protocol buffers of Mesos's v1 APIs, below stoa/v1 those between Stoa's own
// parts and on its disks, each with the Go generated from it beside it; mesosjson is the JSON
// the first are written in.
package api

//go:generate sh generate.sh
