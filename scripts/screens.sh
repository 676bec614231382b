#!/usr/bin/env bash
# Generates docs/screens/*.svg, the pictures in README.md and docs/, from the running program. Takes
# about two minutes, and needs Valkey, which scripts/servers.sh provides. Arguments replace cargo's
# --release: with `scripts/screens.sh --profile dev` the build is faster and the figures shown are
# slower.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -eq 0 ]; then
    set -- --release
fi
servers=$(scripts/servers.sh valkey)
eval "$servers"
cargo build --locked --bin bklit-tui --example screens "$@"
cargo run --quiet --locked --example screens "$@" -- docs/screens
