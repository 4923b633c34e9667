#!/bin/sh
# run.sh [FLAG…]: starts a cluster in the foreground, with the flags for stoa up, and deploys
# examples/hello on it. With ONCE=1, or without a terminal, it also asks the deployed
# server something, runs examples/wordcount, and ends with the status of all that.
set -u
data=${STOA_DATA_DIR:-data}
out=$(mktemp)
applied=$(mktemp)
bin/stoa up --data-dir "$data" "$@" >"$out" &
stoa=$!
# Ctrl-C reaches stoa too: it stops its tasks, this waits for it.
trap ':' INT
trap 'rm -f "$out" "$applied"' EXIT

while ! grep -q '^ready' "$out"; do
	if ! kill -0 $stoa 2>/dev/null; then
		wait $stoa
		exit $?
	fi
	sleep 0.05
done
cat "$out"
master=$(sed -n 's/^ready.*master http:\/\/\([^ ]*\).*/\1/p' "$out")
service=$(sed -n 's/^ready.*service \(http[^ ]*\).*/\1/p' "$out")

echo
echo "An app: examples/hello, a web server of two instances."
# As a URI, and as what sed puts in place of something.
here=$(pwd | sed 's/%/%25/g; s/ /%20/g; s/[&|\\]/\\&/g')
sed "s|\${PWD}|$here|" examples/hello/app.yaml |
	bin/stoa --service-addr "$service" app apply -f - --timeout 2m >"$applied"
status=$?
cat "$applied"
url=$(sed -n 's/^\/hello .* \(http:[^ ]*\).*/\1/p' "$applied")

if [ -n "${ONCE:-}" ] || [ ! -t 0 ]; then
	if [ $status = 0 ]; then
		echo
		bin/hello -get "$url"
		status=$?
	fi
	echo
	echo "A framework: examples/wordcount, counting the words of Go's source tree, one task per shard."
	bin/wordcount -master "$master" || status=$?
	kill -INT $stoa || status=$?
	wait $stoa
	exit $status
fi
echo
[ -z "$url" ] || echo "It answers at $url"
echo "The cluster goes on; in another terminal try:"
echo "  bin/stoa app show hello"
echo "  bin/stoa app scale hello 4"
echo "  bin/stoa logs -f /hello"
echo "  bin/stoa why --cpus 64"
echo "  bin/wordcount"
echo "Ctrl-C stops it."
while kill -0 $stoa 2>/dev/null; do wait $stoa; done
exit $status
