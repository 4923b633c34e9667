// Package id has the identifiers of the cluster as types of their own, so that a
// task's id cannot be passed where an agent's is meant.
package id

// The identifiers frameworks and operators see. All are opaque strings; Framework,
// Agent and Offer ids are made by a master, Task, Executor and Operation ids by
// frameworks.
type (
	Framework string
	Agent     string
	Offer     string
	Executor  string
	Task      string
	Operation string
	Container string
)
