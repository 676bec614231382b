#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ one after the other, from their corpus. Needs cargo-fuzz and a nightly
# toolchain; says what is missing otherwise. Tests replay the corpus with any toolchain (tests/fuzz).
#   scripts/fuzz.sh [SECONDS [TARGET…]]     SECONDS for each target; 60 by default
# New inputs stay in fuzz/corpus.new; one that fails is in fuzz/artifacts and belongs into the corpus,
# with the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
missing() {
  echo "fuzz: $1" >&2
  echo "fuzz: not run; \`cargo test --test integration fuzz::\` replays the corpus without it" >&2
  exit 1
}
command -v cargo-fuzz >/dev/null || missing "cargo-fuzz is missing: cargo install --locked cargo-fuzz"
cargo +nightly --version >/dev/null 2>&1 ||
  missing "there is no nightly toolchain: rustup toolchain install nightly"
if [ $# -eq 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do set -- "$@" "$(basename "$file" .rs)"; done
fi
status=0
for target in "$@"; do
  printf '== %s, %s s\n' "$target" "$seconds"
  mkdir -p "fuzz/corpus.new/$target"
  # Without a sanitizer: the code has no unsafe blocks.
  # The first directory receives new inputs, so the corpus itself stays small.
  cargo +nightly fuzz run -s none "$target" "fuzz/corpus.new/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 ||
    status=1
done
exit "$status"
