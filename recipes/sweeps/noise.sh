#!/usr/bin/env bash
# Noise: one trained agent, a share of whose sub-goals is replaced.   noise.sh AGENT ANNOTATIONS OUT [RATE ...]
source "$(dirname "$0")/common.sh"
agent=$1 annotations=$2 out=$3
shift 3
(($#)) || set -- 0 0.1 0.25 0.5 1
for rate in "$@"; do
  sgd evaluate --agent "$agent" --annotations "$annotations" --noise "$rate" --protocol "$protocol" --out "$out/evaluation/noise-$rate"
done
table
