#!/usr/bin/env bash
# Checks the models with spin: of the lease protocol (lease.pml), of invalidations that reach
# every release (releases.pml), of the fence of tags (fence.pml), and of nested calls and what
# is kept near (nested.pml).
#
#   check.sh         the models as they are must pass, and each of their guards must be
#                    needed: without it, the check must fail. A minute or two
#   check.sh deep    also more callers, more changes, and each verb in turn sent twice or
#                    late: some minutes
#
# Everything is made in a temporary directory, which is kept if something is wrong.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$here/lease.pml releases=$here/releases.pml fence=$here/fence.pml nested=$here/nested.pml

for tool in spin gcc; do
  if ! command -v "$tool" >/dev/null; then
    echo "check.sh: $tool is not on the PATH; on Debian: apt-get install spin gcc libc6-dev" >&2
    exit 1
  fi
done

work=$(mktemp -d)
export model releases fence nested work

wrong() {
  printf 'WRONG: %s\nSee %s; in it, ./pan -r %s.trail replays the order of events that was found.\n' "$1" "${dir-$work}" "$(basename "$model")" >&2
  exit 1
}

# named MACROS...: the model and its macros, for people.
named() { printf '%s' "$(basename "$model" .pml)${*:+ $*}"; }

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
  printf 'holds   %-58s %s\n' "$(named "$@")" "$(awk '/states, stored/ {print $1 " states"}' "$dir/out")"
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
    wrong "promise $promise holds all the same, so the check would not notice: spin $* $(basename "$model")"
  printf 'breaks  %-58s promise %s\n' "$(named "$@")" "$promise"
}

# each: runs every line of its input, two at a time, because one can take up to 2 GB.
each() { xargs -d '\n' -P 2 -I '{}' bash -euo pipefail -c '{}'; }
export -f wrong named search holds breaks

echo "The models as they are"
each <<'END'
holds -DCALLERS=2 -DWIRES=2
holds -DCALLERS=2 -DCHANGES=2 -DJOINER
holds -DCALLERS=3 -DWIRES=0
holds -DCALLERS=3 -DCALM
model=$releases holds -DCALLERS=3
model=$nested holds -DEVICT=1 -DNO_TIME
model=$fence holds -DJOINER
model=$fence holds -DLATE -DCHANGES=1
model=$fence holds -DAWAY -DCHANGES=1
model=$fence holds -DTRIM
model=$fence holds -DEVICT=1 -DNO_TIME -DCHANGES=1
model=$fence holds -DFAILOVER -DCHANGES=1 -DOTHERS=1
model=$fence holds -DFAILOVER -DCHANGES=1 -DEVICT=1
model=$fence holds -DREPLICA -DCHANGES=1
model=$fence holds -DREPLICA -DJOINER -DCALLERS=1
model=$nested holds
END
# These events must have happened in one of the searches, or the searches prove nothing.
sed -n 's/.*[^a-z]reached("\([^"]*\)").*/\1/p' "$model" "$releases" "$fence" "$nested" | sort -u >"$work/wanted"
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
model=$fence breaks 1 -DCAPTURE_LATE -DCHANGES=1
model=$fence breaks 1 -DJUDGE_BY_LOOKUP -DCHANGES=1
model=$fence breaks 1 -DSTORE_UNSTAMPED -DCHANGES=1
model=$fence breaks 1 -DNO_FENCE_COUNTS -DEVICT=1 -DCHANGES=1
model=$fence breaks 1 -DNO_EPOCH -DNO_TIME -DEVICT=1 -DCHANGES=1
model=$fence breaks 1 -DNO_FLOOR -DTRIM -DCHANGES=1
model=$fence breaks 1 -DNO_REOPEN -DFAILOVER -DCHANGES=1
model=$fence breaks 1 -DNO_TIME -DFAILOVER -DCHANGES=1 -DOTHERS=1 -DSTRANGER
model=$fence breaks 1 -DSEEN_BY_EPOCH -DFAILOVER -DCHANGES=1 -DEVICT=1
model=$fence breaks 1 -DINVALIDATE_BLIND -DFAILOVER -DCHANGES=1 -DOTHERS=1
model=$fence breaks 3 -DNO_REREAD -DJOINER -DCHANGES=1
model=$fence breaks 3 -DREREAD_EARLY -DJOINER -DCHANGES=1
model=$fence breaks 3 -DREREAD_FORGETS -DJOINER -DCALLERS=1
model=$fence breaks 3 -DREREAD_FOR_ALL -DJOINER -DCHANGES=1
model=$fence breaks 3 -DREREAD_REPLICA -DREPLICA -DJOINER -DCALLERS=1
model=$fence breaks 4 -DDETACH_BEFORE -DLATE -DCHANGES=1
model=$fence breaks 4 -DAWAY_JOINS_ALL -DAWAY -DCHANGES=1
model=$nested breaks 3 -DPLACE_LATE
model=$nested breaks 1 -DNEAR_UNSTAMPED
model=$nested breaks 1 -DKEEP_PRESENT
model=$nested breaks 1 -DAWAY_STAMPED
model=$nested breaks 1 -DTAGS_LATE
model=$nested breaks 2 -DSTALE_AS_HIT
model=$nested breaks 2 -DJOIN_AS_HIT
model=$nested breaks 1 -DEPOCHS_MIXED -DEVICT=1 -DNO_TIME
END

if [[ ${1-} == deep ]]; then
  echo "More callers and changes"
  each <<'END'
model=$fence holds -DFAILOVER -DCHANGES=1 -DOTHERS=1 -DSTRANGER
model=$fence holds -DCALLERS=3 -DCHANGES=1
model=$fence holds -DJOINER -DEVICT=1 -DNO_TIME -DCHANGES=1
model=$fence holds -DEVICT=2 -DNO_TIME -DCHANGES=1
model=$nested holds -DOUTER=1 -DCHANGES=2 -DEVICT=1
model=$nested holds -DCHANGES=2
model=$nested holds -DINNER=2
END
  for verb in acquire renew store cooldown release invalidate; do
    echo "holds -DCALLERS=3 -DWIRED=$verb"
  done | each
fi
rm -rf "$work"
