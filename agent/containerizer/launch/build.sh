#!/bin/sh
# Builds the init for every architecture into bin/, reproducibly: the same sources and
# the same Go give the same bytes, which TestInitIsBuiltFromItsSources checks.
# Run by go generate. OUT names another directory to build into.
set -eu
cd "$(dirname "$0")"
out=${OUT:-bin}
for arch in amd64 arm64; do
	env -u GOEXPERIMENT -u GODEBUG CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOAMD64=v1 GOARM64=v8.0 \
		GOFLAGS= GOWORK=off GOTOOLCHAIN=local \
		go build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/init-linux-$arch" ./init
done
# What they were built from: a change of sources without a build is noticed even under
# another release of Go, whose bytes may differ.
{
	go env GOVERSION
	cat init/*.go init/*.s protocol/encode.go protocol/protocol.go | sha256sum | cut -d' ' -f1
} >"$out/built-from"
