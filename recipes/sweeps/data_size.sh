#!/usr/bin/env bash
# Data size: at most N variations a task; fewer are part of more.   data_size.sh DATA OUT [N ...]
source "$(dirname "$0")/common.sh"
data=$1 out=$2
shift 2
(($#)) || set -- 1 3 10 30 100
for n in "$@"; do learn "variations-$n" "$data" "task_cap: $n"; done
table
