#!/usr/bin/env bash
# Held-out task types: trained without one group of tasks, played on all.   held_out.sh DATA OUT [GROUP ...]
source "$(dirname "$0")/common.sh"
data=$1 out=$2 split="$recipes/sweeps/held_out_tasks.yaml"
shift 2
(($#)) || set -- $(sed -n 's/^\([a-z-]*\):.*/\1/p' "$split")
for group in "$@"; do
  grep -q "^$group: " "$split" || { echo "held_out.sh: $group is no group of $split." >&2; exit 2; }
done
for group in "$@"; do learn "without-$group" "$data" "held_out: $(sed -n "s/^$group: //p" "$split")"; done
table
