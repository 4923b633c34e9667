#!/bin/sh
# Starts a cluster in the foreground and runs an example on it. With ONCE=1, or without a
# terminal, it ends with the example and has its exit status.
set -u
data=${STOA_DATA_DIR:-data}
out=$(mktemp)
bin/stoa up --data-dir "$data" >"$out" &
stoa=$!
# Ctrl-C reaches stoa too: it stops its tasks, this waits for it.
trap ':' INT
trap 'rm -f "$out"' EXIT

while ! grep -q '^ready' "$out"; do
	if ! kill -0 $stoa 2>/dev/null; then
		wait $stoa
		exit $?
	fi
	sleep 0.05
done
cat "$out"
master=$(sed -n 's/^ready.*master http:\/\/\([^ ]*\).*/\1/p' "$out")

echo
echo "An example: counting the words of Go's source tree, one task per shard."
bin/wordcount -master "$master"
status=$?

if [ -n "${ONCE:-}" ] || [ ! -t 0 ]; then
	kill -INT $stoa
	wait $stoa
	exit $status
fi
echo
echo "The cluster goes on; in another terminal try:"
echo "  bin/stoa run -- echo hello"
echo "  bin/stoa ps -a"
echo "  bin/stoa why --cpus 64"
echo "Ctrl-C stops it."
while kill -0 $stoa 2>/dev/null; do wait $stoa; done
exit $status
