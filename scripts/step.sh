#!/bin/sh
# One step of setting up: scripts/step.sh WHAT NEXT COMMAND [ARGUMENT ...]
# On a terminal the command shows its own progress; elsewhere one line says what is done. Where it fails, two lines
# say what could not be done and what to do (NEXT) instead of all that the command had to say, which is kept in a file.
what=$1 next=$2
shift 2
echo "$what"
if [ -t 2 ]; then
    "$@" && exit 0
    reason="see above"
else
    log=${TMPDIR:-/tmp}/zoo-setup-$$.log
    "$@" >"$log" 2>&1 && rm -f "$log" && exit 0
    reason=$(grep -m 1 -i 'failed to fetch' "$log" || grep -m 1 -i 'error' "$log" || tail -n 1 "$log")
    reason="$(echo "$reason" | sed -E 's/^ *(error|cause|caused by): *//I') (all of it: $log)"
fi
echo "error: $what: $reason" >&2
echo "next: $next" >&2
exit 1
