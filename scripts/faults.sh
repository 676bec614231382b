#!/usr/bin/env bash
# Runs the random fault tests for a given time: kills, hangs, crashes and errors on two processes
# with Redis and ClickHouse, under load. Prints the faults and the resulting counts.
#   scripts/faults.sh [SECONDS] [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
servers=$(scripts/servers.sh)
eval "$servers"
export BKLIT_FAULT_SECONDS=${1:-600}
[ $# -lt 2 ] || export BKLIT_FAULT_SEED=$2
cargo build --workspace --locked
exec cargo test --test integration --locked -- faults:: --nocapture --test-threads 1
