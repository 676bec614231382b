#!/usr/bin/env bash
# Runs all benchmarks and writes bench/RESULTS.md and bench/plots/ from their results. On two cores it takes
# about 15 minutes after the builds. Leave the machine alone meanwhile. Servers, builds, ripgrep, matplotlib
# and data are under target/; needed are Rust, Python 3 with venv, pip and npm.
#
#   bench/run.sh             writes bench/RESULTS.md and bench/plots/
#   bench/run.sh --quick     tiny numbers, to try this script; writes to target/bench/quick/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

events=500000 rounds=3 seconds=2 points=100000 folder=bench work=target/bench
batches=(100 500 2000 5000 15000 50000) connections=(1 4 16 64 256 1024) buffers=(10000 30000 100000 300000 1000000)
flood=15 machine=()
case ${1:-} in
  '') ;;
  --quick)
    events=5000 rounds=1 seconds=1 points=5000 folder=target/bench/quick work=$folder
    batches=(100 1000) connections=(1 16) buffers=(10000 20000) flood=1 machine=(--quick)
    ;;
  *) echo "run.sh: unknown option $1 (--quick)" >&2; exit 2 ;;
esac
most=${buffers[-1]}

# 1,024 connections need files on both ends.
ulimit -n 8192 2>/dev/null || ulimit -n "$(ulimit -H -n)"
# Many systems have /tmp in memory, where syncing to disk costs nothing.
mkdir -p "$work/tmp"
TMPDIR=$(cd "$work/tmp" && pwd)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

servers=$(scripts/servers.sh valkey redis clickhouse)
eval "$servers"
python=target/bench/venv/bin/python
if ! "$python" -c 'import matplotlib' 2>/dev/null; then
  python3 -m venv --clear target/bench/venv
  "$python" -m pip install --quiet --disable-pip-version-check matplotlib
fi
if ! target/bench/bin/rg --version > /dev/null 2>&1; then
  cargo install --quiet --locked --root target/bench ripgrep
fi
# The load average is of before the builds.
results=$work/results.jsonl
rm -f "$results"
report() { "$python" -B bench/report.py "$@"; }
report machine "$results" "${machine[@]}"
cargo build --release --locked -p clickhouse-front
cargo bench --locked --no-run --bench worker --bench track --bench console

bench() { # bench <name> <option>...: the options before --json are part of the recorded command
  printf '\n== %s\n' "$*"
  cargo bench --quiet --locked --bench "$1" -- "${@:2}"
}
measure() { bench "$@" --json "$PWD/$results"; }
point() { bench "${@:2}" --json "$PWD/$results" --plot "$1"; } # point <option that varies> <name> <option>...

measure worker --events "$events" --rounds "$rounds"
measure worker --events "$events" --rounds "$rounds" --processes 2
measure worker --events "$events" --rounds "$rounds" --mixed
measure worker --events "$events" --rounds "$rounds" --embedded
measure worker --visible 1000 --seconds "$((seconds * 5))" --rounds "$rounds"

for number in 64 256; do
  measure track --redis --connections "$number" --seconds "$seconds" --rounds "$rounds"
  measure track --connections "$number" --seconds "$seconds" --rounds "$rounds"
done
measure console --lines "$most" --seconds "$flood"

for number in "${connections[@]}"; do
  # More than the default of http.max_connections.
  for queue in --redis ''; do
    point connections track $queue --connections "$number" --seconds "$seconds" --rounds 1 --only bare,track \
      --settings http.max_connections=2000
  done
done
for number in "${batches[@]}"; do
  point batch worker --events "$points" --rounds 1 --batch "$number"
done
for number in 1 2 3 4; do
  point workers worker --events "$points" --rounds 1 --workers "$number"
done
for number in 1 2 3 4; do
  point shards worker --events "$points" --rounds 1 --shards "$number"
done
for number in "${buffers[@]}"; do
  point lines console --lines "$number" --only filter
done

report write "$results" "$folder"
printf '\n%s/RESULTS.md is written from %s\n' "$folder" "$results"
