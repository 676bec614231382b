#!/usr/bin/env bash
# Measures the memory of the program with a million events queued while ClickHouse is unavailable, and
# its memory and descriptors during ten minutes at 2,000 events per second.
#   scripts/memory.sh [SECONDS] [EVENTS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
servers=$(scripts/servers.sh)
eval "$servers"
export BKLIT_MEMORY_SECONDS=${1:-600} BKLIT_MEMORY_EVENTS=${2:-1000000} BKLIT_TEST_ALL=1
cargo build --release --locked --bin bklit-tui
export BKLIT_MEMORY_PROGRAM=$PWD/target/release/bklit-tui
cargo build --workspace --locked
exec cargo test --test integration --locked -- faults::memory:: --include-ignored --nocapture --test-threads 1
