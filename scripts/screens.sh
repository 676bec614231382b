#!/usr/bin/env bash
# Makes docs/screens/*.svg, the pictures in README.md, from the running program. Needs nothing but
# Rust. Arguments go to cargo: `scripts/screens.sh --release` shows a release build's figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --locked --bin bklit-tui --example screens "$@"
cargo run --quiet --locked --example screens "$@" -- docs/screens
