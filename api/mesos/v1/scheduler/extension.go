// Package schedulerpb is the scheduler API of Mesos, between frameworks and the master, and what Stoa adds to it.
package schedulerpb

// What a master can do beyond Mesos is in a header of SUBSCRIBE's answer, where clients that
// know nothing of it do not look: a comma-separated list of names.
const (
	ExtensionsHeader = "Stoa-Extensions"
	// Acknowledgements says that the master takes Call.acknowledgements.
	Acknowledgements = "acknowledgements"
	// MaxAcknowledgements is how many of them one call may have.
	MaxAcknowledgements = 1000
)
