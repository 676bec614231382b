#!/usr/bin/env bash
# Measures normal traffic (100 page views per second) without and with hostile clients: unknown tokens,
# session ends without tokens, timestamps of all months, idle connections, decompression bombs, and all
# of them at once. Prints latencies, the accepted share and memory; fails if less than 99 % is accepted
# in any phase, or if anything accepted is not stored.
#   scripts/hostile.sh [SECONDS]     of each phase; 10 by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export BKLIT_HOSTILE_SECONDS=${1:-10}
exec cargo test --release --test integration --locked -- hostile:: --ignored --nocapture
