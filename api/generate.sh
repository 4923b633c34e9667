#!/bin/sh
# Generates the Go beside each .proto below this directory. It takes protoc from the PATH and
# builds the plugin in the version that go.mod names.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
protoc -I . --plugin="$bin/protoc-gen-go" --go_out=.. --go_opt=module=github.com/stoa-kernel/stoa \
	$(find . -name '*.proto' | sed 's|^\./||' | sort)
