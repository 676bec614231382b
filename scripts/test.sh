#!/usr/bin/env bash
# Everything that must hold before a change is done, from a fresh clone: formatting, lints, all
# tests, documentation. Beside Rust it needs pip, npm, node and apt-get for the servers that the tests
# talk to (see scripts/servers.sh); what it makes is kept under target/.
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

printf '\n== scripts/servers.sh\n'
servers=$(scripts/servers.sh)
eval "$servers"

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
step cargo test --workspace --locked
step env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

printf '\nAll good.\n'
