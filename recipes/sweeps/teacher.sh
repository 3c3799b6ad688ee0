#!/usr/bin/env bash
# Teacher: the same gold paths, cut by another teacher each time.   teacher.sh OUT rules=runs/rules llm=runs/llm ...
source "$(dirname "$0")/common.sh"
out=$1
shift
for pair in "$@"; do learn "teacher-${pair%%=*}" "${pair#*=}"; done
table
