module github.com/stoa-kernel/stoa/test/compat/codec

go 1.26.0

require (
	github.com/gogo/protobuf v1.1.1
	github.com/mesos/mesos-go v0.0.11
	github.com/stoa-kernel/stoa v0.0.0
	google.golang.org/protobuf v1.36.12
)

require github.com/pquerna/ffjson v0.0.0-20190930134022-aa0246cd15f7 // indirect

replace github.com/stoa-kernel/stoa => ../../..
