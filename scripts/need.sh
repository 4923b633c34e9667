#!/bin/sh
# need.sh PACKAGE…: installs Debian packages whose program is missing.
set -eu
missing=
for package in "$@"; do
	case $package in
	gcc) command -v gcc >/dev/null && echo 'int main(void){return 0;}' | gcc -x c -o /dev/null - 2>/dev/null && continue; package="gcc libc6-dev" ;;
	protobuf-compiler) command -v protoc >/dev/null && continue ;;
	*) command -v "$package" >/dev/null && continue ;;
	esac
	missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing:$missing. Install them, or run this as root on Debian, which does it." >&2
	exit 1
fi
echo "installing$missing"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
