#!/usr/bin/env bash
# compare.sh BASE BENCH COUNT BENCHTIME PKG: runs the benchmarks that match BENCH of the package in
# the directory PKG, at the commit BASE and in the working tree. They take turns, COUNT times, so
# that both run under the same load. Then compares them with benchstat.
set -euo pipefail
cd "$(dirname "$0")/.."
base=$1 bench=$2 count=$3 benchtime=$4 pkg=$5

work=$(mktemp -d)
trap 'git worktree remove --force "$work/tree" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/tree" "$base"
(cd "$work/tree" && go test -c -o "$work/base.test" "$pkg")
go test -c -o "$work/here.test" "$pkg"

# run WHICH DIR: one turn of a binary, in the directory of its package.
run() {
  (cd "$2" && "$work/$1.test" -test.run '^$' -test.bench "$bench" -test.benchmem -test.benchtime "$benchtime") >>"$work/$1"
}
for ((i = 0; i < count; i++)); do
  run base "$work/tree/$pkg"
  run here "$pkg"
done
go tool -modfile=tools/go.mod benchstat base="$work/base" here="$work/here"
