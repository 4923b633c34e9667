module github.com/stoa-kernel/stoa/test/compat/allegro

go 1.26

require github.com/allegro/mesos-executor v0.11.36

require (
	github.com/StackExchange/wmi v0.0.0-20170410192909-ea383cf3ba6e // indirect
	github.com/allegro/go-metrics-graphite v0.0.0-20180404124432-d8aec135f2c1 // indirect
	github.com/armon/go-metrics v0.3.9 // indirect
	github.com/certifi/gocertifi v0.0.0-20170727155124-3fd9e1adb12b // indirect
	github.com/evalphobia/logrus_sentry v0.4.5 // indirect
	github.com/getsentry/raven-go v0.0.0-20170614100719-d175f85701df // indirect
	github.com/go-logfmt/logfmt v0.4.0 // indirect
	github.com/go-ole/go-ole v1.2.0 // indirect
	github.com/gogo/protobuf v1.1.1 // indirect
	github.com/hashicorp/consul/api v1.1.0 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.1 // indirect
	github.com/hashicorp/go-immutable-radix v1.0.0 // indirect
	github.com/hashicorp/go-rootcerts v1.0.0 // indirect
	github.com/hashicorp/golang-lru v0.5.0 // indirect
	github.com/hashicorp/serf v0.8.2 // indirect
	github.com/json-iterator/go v1.1.9 // indirect
	github.com/kelseyhightower/envconfig v1.3.0 // indirect
	github.com/konsorten/go-windows-terminal-sequences v1.0.1 // indirect
	github.com/kr/logfmt v0.0.0-20140226030751-b84e30acd515 // indirect
	github.com/mesos/mesos-go v0.0.3-0.20170414165749-36b30d8a146d // indirect
	github.com/mitchellh/go-homedir v1.0.0 // indirect
	github.com/mitchellh/mapstructure v1.1.2 // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.1 // indirect
	github.com/pborman/uuid v0.0.0-20170612153648-e790cca94e6c // indirect
	github.com/pkg/errors v0.8.1 // indirect
	github.com/pquerna/ffjson v0.0.0-20170801150605-5333e98ee8b9 // indirect
	github.com/rcrowley/go-metrics v0.0.0-20161128210544-1f30fe9094a5 // indirect
	github.com/shirou/gopsutil v2.16.13-0.20170803020835-114c78c777eb+incompatible // indirect
	github.com/shirou/w32 v0.0.0-20160930032740-bb4de0191aa4 // indirect
	github.com/sirupsen/logrus v1.4.2 // indirect
	golang.org/x/net v0.0.0-20190923162816-aa69164e4478 // indirect
	golang.org/x/sys v0.0.0-20200122134326-e047566fdf82 // indirect
	golang.org/x/time v0.0.0-20170927054726-6dc17368e09b // indirect
)
