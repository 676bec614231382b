#!/usr/bin/env bash
# Runs all checks of a change, from a fresh clone: formatting, lints, dependencies, all tests,
# documentation. In addition to Rust, it needs pip, npm, node and apt-get for the servers of the tests
# (see scripts/servers.sh). Everything it creates is under target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# rustfmt and clippy are part of the default installation; a minimal one may lack them.
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

# Licences, sources and versions are known from the lock file and the packages. Advisories need the
# network; if they cannot be fetched, that is reported but is not an error.
check_dependencies() {
    # A build does not download dependencies of other systems.
    if ! cargo fetch --locked; then
        printf '\n!! NOT CHECKED: dependencies. Not all of them could be downloaded (see above).\n'
        return
    fi
    step "$BKLIT_TEST_DENY" --workspace --locked check bans licenses sources
    if timeout 120 "$BKLIT_TEST_DENY" --workspace --locked fetch db; then
        step "$BKLIT_TEST_DENY" --workspace --locked check --disable-fetch advisories
    else
        printf '\n!! NOT CHECKED: security advisories. Their database could not be fetched (see above).\n'
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
deny=$(scripts/servers.sh deny)
eval "$deny"
# Here, a missing server is an error.
export BKLIT_TEST_ALL=1

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
check_dependencies
step cargo test --workspace --locked --no-fail-fast
step python3 -B -m unittest discover bench
step env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

printf '\nAll good.\n'
