#!/usr/bin/env bash
# Shows that the histories find bugs of the fence of tags: builds a copy of the last commit with one
# bug at a time, from testdata/seeded, and requires that `make soak` finds a broken rule that the
# patch names.
#
#   seeded.sh              all bugs
#   seeded.sh NAME...      these, by the names of their patches
#
# DURATION (5m) is how long it looks for each at most; SEED (1) is the seed of the first round.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'git -C "$here" worktree remove --force "$work/copy" 2>/dev/null || true; rm -rf "$work"' EXIT
git -C "$here" worktree add --quiet --detach "$work/copy" HEAD

if [[ $# -eq 0 ]]; then
  for patch in "$here"/testdata/seeded/*.patch; do
    set -- "$@" "$(basename "$patch" .patch)"
  done
fi
missed=0
for name in "$@"; do
  patch=$here/testdata/seeded/$name.patch
  sed -n 's/^Broken rule: /BROKEN: /p' "$patch" >"$work/rules"
  if [[ ! -s $work/rules ]]; then
    echo "seeded.sh: $name.patch names no broken rule; begin it with lines 'Broken rule: ...'" >&2
    exit 1
  fi
  if ! git -C "$work/copy" apply "$patch"; then
    echo "seeded.sh: $name.patch does not apply: the code has changed, so change the patch" >&2
    exit 1
  fi
  mkdir "$work/records"
  TMPDIR=$work/records make -C "$work/copy" soak DURATION="${DURATION:-5m}" SEED="${SEED:-1}" >"$work/$name.log" 2>&1 || true
  if found=$(grep -m1 -oFf "$work/rules" "$work/$name.log"); then
    echo "found   $name, in round $(grep -c 'seed [0-9]*: .* calls' "$work/$name.log"): ${found#BROKEN: }"
  else
    missed=1
    echo "MISSED  $name"
    grep -F 'BROKEN: ' "$work/$name.log" | sort | uniq -c || tail -n 5 "$work/$name.log"
  fi
  git -C "$work/copy" checkout --quiet -- .
  rm -rf "$work/records"
done
exit $missed
