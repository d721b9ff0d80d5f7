#!/usr/bin/env bash
# Checks the models of the lease protocol (lease.pml) and of invalidations that reach every
# release (releases.pml) with spin.
#
#   check.sh         the model as it is must pass, in less than a minute, and each
#                    of its guards must be needed: without it, the check must fail
#   check.sh deep    also three callers with each verb in turn sent twice or late:
#                    some minutes
#
# Everything is made in a temporary directory, which is kept if something is wrong.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$here/lease.pml releases=$here/releases.pml

for tool in spin gcc; do
  if ! command -v "$tool" >/dev/null; then
    echo "check.sh: $tool is not on the PATH; on Debian: apt-get install spin gcc libc6-dev" >&2
    exit 1
  fi
done

work=$(mktemp -d)
export model releases work

wrong() {
  printf 'WRONG: %s\nSee %s; in it, ./pan -r %s.trail replays the order of events that was found.\n' "$1" "$dir" "$(basename "$model")" >&2
  exit 1
}

# search MACROS...: goes through all states. The checker's output is in $dir/out.
search() {
  dir=$(mktemp -d "$work/XXXXXX")
  cp "$model" "$dir"
  (
    cd "$dir"
    spin -a "$@" "$(basename "$model")" >spin.out
    # MEMLIM in MB. NOFAIR: no liveness, so no need to keep count of fairness. -O1: most
    # searches are shorter than what -O2 takes longer to compile.
    gcc -O1 -DSAFETY -DNOFAIR -DCOLLAPSE -DMEMLIM=1900 -o pan pan.c
    ./pan -m100000 -w24 >out 2>&1 || true
  )
  grep -q 'errors:' "$dir/out" || wrong "the checker did not end: spin $*"
}

# holds MACROS...: every promise holds, in every order of events.
holds() {
  search "$@"
  grep -q 'errors: 0' "$dir/out" || wrong "a promise does not hold: spin $*: $(grep -m1 '^pan:1:' "$dir/out")"
  if grep -qE 'Search not completed|max search depth' "$dir/out"; then
    wrong "the search was cut short: spin $*"
  fi
  printf 'holds   %-46s %s\n' "$*" "$(awk '/states, stored/ {print $1 " states"}' "$dir/out")"
}

# breaks PROMISE MACROS...: that one promise does not hold. An error of any other
# kind (a deadlock, say) does not count.
breaks() {
  local promise=$1
  shift
  if [[ $promise == any ]]; then # the model has one promise
    search "$@"
  else
    search -DPROMISE="$promise" "$@"
  fi
  grep -q '^pan:1: assertion violated' "$dir/out" ||
    wrong "promise $promise holds all the same, so the check would not notice: spin $*"
  printf 'breaks  %-46s promise %s\n' "$*" "$promise"
}

# each: runs every line of its input, two at a time: one can take up to 2 GB.
each() { xargs -d '\n' -P 2 -I '{}' bash -euo pipefail -c '{}'; }
export -f wrong search holds breaks

echo "The model as it is"
each <<'END'
holds -DCALLERS=2 -DWIRES=2
holds -DCALLERS=2 -DCHANGES=2 -DJOINER
holds -DCALLERS=3 -DWIRES=0
holds -DCALLERS=3 -DCALM
model=$releases holds -DCALLERS=3
END
# What must have happened in one of these, or they prove nothing.
sed -n 's/.*[^a-z]reached("\([^"]*\)").*/\1/p' "$model" "$releases" | sort -u >"$work/wanted"
sed -n 's/^reached: //p' "$work"/*/out | sort -u >"$work/reached"
missing=$(comm -23 "$work/wanted" "$work/reached")
[[ -s $work/wanted && -z $missing ]] || wrong "never happened: $missing"
echo "reached: all $(wc -l <"$work/wanted") events that matter"

echo "Without a guard"
each <<'END'
breaks 1 -DCALLERS=2 -DNO_STORE_COMPARE
breaks 2 -DCALLERS=2 -DNO_STORE_COMPARE
breaks 4 -DCALLERS=2 -DNO_ACQUIRE_REREAD
breaks 3 -DCALLERS=3 -DWIRES=0 -DPLAIN_DEL
breaks 5 -DCALLERS=2 -DNO_RENEW_COMPARE
breaks 5 -DCALLERS=2 -DCOOL_KEEPS_TOKEN
breaks 6 -DCALLERS=2 -DCALM -DNO_RELEASE
breaks 1 -DCALLERS=2 -DRESENT_TOKEN
breaks 1 -DCALLERS=2 -DJOINER -DJOIN_UNTIL_DONE
holds -DCALLERS=2 -DRESENT_TOKEN -DPROMPT_ACQUIRES
model=$releases breaks any -DREGISTER_LATE
model=$releases breaks any -DSTORE_ANYWAY
model=$releases breaks any -DREAD_EARLY
model=$releases breaks any -DOWN_ONLY
END

if [[ ${1-} == deep ]]; then
  echo "Three callers"
  for verb in acquire renew store cooldown release invalidate; do
    echo "holds -DCALLERS=3 -DWIRED=$verb"
  done | each
fi
rm -rf "$work"
