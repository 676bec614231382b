#!/usr/bin/env bash
# Makes docs/screens/*.svg, the pictures in README.md and docs/, from the running program in less
# than a minute. Needs nothing but Rust. Arguments go to cargo instead of --release, as in
# `scripts/screens.sh --profile dev`, which is built faster and shows slower figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -eq 0 ]; then
    set -- --release
fi
cargo build --locked --bin bklit-tui --example screens "$@"
cargo run --quiet --locked --example screens "$@" -- docs/screens
