#!/usr/bin/env bash
# Runs the random fault tests, each for a given time: kills, hangs, crashes and errors on two processes
# with ClickHouse and one Redis server, Sentinels or a cluster, under load. Prints the faults and the
# resulting counts.
#   scripts/faults.sh [SECONDS] [SEED] [on_one_server|with_sentinels|in_a_cluster]
# BKLIT_FAULT_SETTINGS adds settings, in lines such as `queue.max_depth = 5000`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
servers=$(scripts/servers.sh)
eval "$servers"
export BKLIT_FAULT_SECONDS=${1:-600} BKLIT_TEST_ALL=1
[ $# -lt 2 ] || export BKLIT_FAULT_SEED=$2
cargo build --workspace --locked
exec cargo test --test integration --locked -- \
    "faults::chaos::faults_${3:-}" --nocapture --test-threads 1
