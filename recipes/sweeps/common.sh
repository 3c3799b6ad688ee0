# Shared by the sweeps: `learn NAME DATA [LINE …]` trains planner and executor of $STUDENT with LINEs added to the
# recipes, and plays $PROTOCOL; `table` ends a sweep.
set -euo pipefail
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
student=${STUDENT:-smollm2-135m}
protocol=${PROTOCOL:-dev-mini}

learn() {
  local name=$1 data=$2 role
  shift 2
  mkdir -p "$out/$name"
  for role in planner executor; do
    { cat "$recipes/$student/$role.yaml"; printf '%s\n' "$@"; } > "$out/$name/$role.yaml"
    sgd train --config "$out/$name/$role.yaml" --data "$data" --out "$out/$name/$role"
  done
  sgd evaluate --agent "$out/$name" --protocol "$protocol" --out "$out/evaluation/$name"
}

table() { sgd leaderboard "$out"/evaluation/*; }
