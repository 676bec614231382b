#!/usr/bin/env bash
# Runs the external cases of tests/cases: inputs that have broken other software of this kind, each
# with its source. Prints a table with a verdict for each, and fails unless all pass.
#   scripts/cases.sh [FILTER]     only the tests whose names contain FILTER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
servers=$(scripts/servers.sh)
eval "$servers"
# Here, a missing server is an error.
export BKLIT_TEST_ALL=1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export BKLIT_CASES_REPORT=$dir/report
cargo build --workspace --locked
status=0
cargo test --test integration --locked -- "cases::${1:-}" --include-ignored >"$dir/log" 2>&1 || status=$?
if [ -s "$dir/report" ]; then
  {
    printf 'verdict\tsource\tinput\texpected\tgot\n'
    sort -t "$(printf '\t')" -k 2,3 "$dir/report"
  } | awk -F '\t' '{ printf "%-7s | %s | %s | %s | %s\n", $1, $2, $3, $4, $5 }'
  printf '%s passed, %s failed\n' "$(grep -c '^PASS' "$dir/report" || true)" \
    "$(grep -c '^FAIL' "$dir/report" || true)"
fi
if [ "$status" -ne 0 ]; then
  cat "$dir/log" >&2
fi
exit "$status"
