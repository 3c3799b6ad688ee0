#!/usr/bin/env bash
# Model size: the same data, another student each time.   model_size.sh DATA OUT [STUDENT ...]
source "$(dirname "$0")/common.sh"
data=$1 out=$2
shift 2
(($#)) || set -- tiny smollm2-135m smollm2-360m qwen3-0.6b
for student in "$@"; do learn "$student" "$data"; done
table
