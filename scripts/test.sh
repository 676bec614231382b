#!/usr/bin/env bash
# Everything that must hold before a change is done, from a fresh clone: formatting, lints, all
# tests, documentation. Needs Rust only; what it makes is kept under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# rustfmt and clippy are parts of a usual installation; a minimal one can add them.
ensure_component() {
    local component=$1 program=$2
    if ! cargo "$program" --version >/dev/null 2>&1; then
        if ! command -v rustup >/dev/null; then
            echo "cargo $program is missing and there is no rustup to add it" >&2
            exit 1
        fi
        step rustup component add "$component"
    fi
}

command -v cargo >/dev/null || {
    echo "cargo is missing; install Rust by https://rustup.rs" >&2
    exit 1
}
ensure_component rustfmt fmt
ensure_component clippy clippy

step cargo fmt --check
step cargo clippy --all-targets --locked -- -D warnings
step cargo test --locked
step env RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked

printf '\nAll good.\n'
