#!/usr/bin/env bash
# The fault experiments, for as long as you like: kills, hangs, crashes and errors at random on two
# processes with Redis and ClickHouse, under load. Prints what was done and how the count came out.
#   scripts/faults.sh [SECONDS] [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
servers=$(scripts/servers.sh)
eval "$servers"
export BKLIT_FAULT_SECONDS=${1:-600}
[ $# -lt 2 ] || export BKLIT_FAULT_SEED=$2
cargo build --workspace --locked
exec cargo test --test integration --locked -- faults:: --nocapture --test-threads 1
