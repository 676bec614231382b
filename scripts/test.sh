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

# Runs all tests. Many of them run real programs and servers at the same time, on a machine that may be
# slow, so up to three that fail are run once more, each alone. Those that pass then are reported.
run_tests() {
    local log=target/test.log again=target/test-again.log failed=() name
    mkdir -p target
    if step cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log"; then
        return
    fi
    mapfile -t failed < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log" | sort -u)
    # Without names it was not a test that failed; a signal ends a program with all its tests.
    if ((${#failed[@]} < 1 || ${#failed[@]} > 3)) || grep -qF '(signal: ' "$log"; then
        return 1
    fi
    for name in "${failed[@]}"; do
        step cargo test --workspace --locked -- --exact "$name" 2>&1 | tee "$again"
        grep -qFx "test $name ... ok" "$again"
    done
    printf '\n!! UNSTABLE: failed among the other tests, passed alone:\n'
    printf '!!   %s\n' "${failed[@]}"
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
run_tests
step python3 -B -m unittest discover bench
step env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked

printf '\nAll good.\n'
