#!/usr/bin/env bash
# servers.sh fetch    gets Redis 8.0 and Valkey 8.1 into .servers/
# servers.sh test     runs the tests on them and on the redis-server on the PATH,
#                     and prints a table
#
# Both come from Debian's next release, as packages, on any Debian machine. The packages come from
# the mirrors that the machine's own apt uses, and are checked with the keys that it trusts. They
# are unpacked with all the libraries they need and started through their own dynamic linker, so
# nothing is installed and root is not needed.
set -euo pipefail
cd "$(dirname "$0")/.."

release=${RELEASE:-trixie}
home=$PWD/.servers

# own_apt runs apt with its state below .servers/. No package is installed there, so apt downloads
# every library, including libc.
own_apt() {
  apt-get -q \
    -o Dir::State="$home/apt" -o Dir::State::status="$home/apt/status" \
    -o Dir::Cache="$home/apt" -o Dir::Cache::archives="$home/apt/archives" \
    -o Dir::Etc::sourcelist="$home/apt/sources.list" -o Dir::Etc::sourceparts=- \
    -o APT::Sandbox::User="$(id -un)" \
    -o APT::Update::Post-Invoke::= -o APT::Update::Post-Invoke-Success::= \
    "$@"
}

# sources writes the machine's own Debian sources with the other release's name.
sources() {
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v from="$codename" -v to="$release" '
      $2 ~ "^" from "(-security|-updates)?$" && $3 == "main" { sub("^" from, to, $2); print "deb", $1, $2, $3 }' |
    sort -u
}

fetch() {
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "servers.sh: this needs Debian's apt-get and dpkg-deb; on another system give FNCACHE_REDIS_SERVER the path of a server, and run make test" >&2
    exit 1
  }
  mkdir -p "$home"/apt/{lists,archives}/partial
  : >"$home/apt/status"
  sources >"$home/apt/sources.list"
  [[ -s $home/apt/sources.list ]] || {
    echo "servers.sh: apt knows no source of this machine's Debian release; see: apt-get indextargets" >&2
    exit 1
  }
  own_apt update
  own_apt --yes --no-install-recommends --download-only install redis-server valkey-server
  rm -rf "$home/root"
  mkdir -p "$home/root" "$home/bin"
  local package
  for package in "$home"/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$home/root"
  done
  wrapper redis-server
  wrapper valkey-server
  rm -rf "$home/apt"
}

# wrapper writes a script that starts a server with its own linker and libraries.
wrapper() {
  local server=$1 linker libraries
  linker=$(find "$home/root/usr/lib" -name 'ld-linux*.so.*' -type f | head -n 1)
  libraries=$(dirname "$linker")
  cat >"$home/bin/$server" <<EOF
#!/bin/sh
exec '$linker' --library-path '$libraries' '$home/root/usr/bin/$server' "\$@"
EOF
  chmod +x "$home/bin/$server"
  "$home/bin/$server" --version
}

# version prints a server's name and version: Redis 8.0.2.
version() { "$1" --version | sed -n 's/^\([A-Z][a-z]*\) server v=\([0-9.]*\).*/\1 \2/p'; }

# one runs the tests on one server, and writes a row of the table.
one() {
  local server=$1 log=$home/$2.log faults=$home/$2.faults.log failed=
  echo "== $(version "$server")" >&2
  FNCACHE_REQUIRE_REDIS=1 FNCACHE_REDIS_SERVER=$server \
    go test -count=1 -v . >"$log" 2>&1 || failed=1
  FNCACHE_REQUIRE_REDIS=1 FNCACHE_REDIS_SERVER=$server \
    go -C faults test -count=1 -v -parallel 4 ./... >"$faults" 2>&1 || failed=1
  row "$(version "$server")" "$log" "$faults"
  if [[ -n $failed ]]; then
    grep -hE '^ *--- FAIL|^panic:' "$log" "$faults" >&2 || tail -n 20 "$log" "$faults" >&2
    echo "servers.sh: FAILED on $(version "$server"); the whole logs: $log and $faults" >&2
    return 1
  fi
}

kinds=(RESP2 RESP3 ContextTimeoutEnabled client-side_caching Cluster Sentinel)

# row VERSION LOG FAULTS: counts the tests that ended, by kind of client: "passed",
# or "passed, n FAILED".
row() {
  awk -v server="$1" -v kinds="${kinds[*]}" '
    BEGIN { n = split(kinds, name, " ") }
    $1 == "---" && ($2 == "PASS:" || $2 == "FAIL:") {
      column = FILENAME == ARGV[2] ? n + 1 : 0
      parts = split($3, part, "/")
      for (i = 2; i <= parts; i++) for (k = 1; k <= n; k++) if (part[i] == name[k]) column = k
      count[column, $2]++
    }
    function cell(c) { return (count[c, "PASS:"] + 0) (count[c, "FAIL:"] ? ", " count[c, "FAIL:"] " FAILED" : "") }
    END {
      printf "| %s |", server
      for (k = 1; k <= n; k++) printf " %s |", cell(k)
      printf " %s |\n", cell(n + 1)
    }' "$2" "$3"
}

run_tests() {
  [[ -x $home/bin/redis-server ]] || fetch >&2
  local table=$home/table.md failed=
  echo "| server | plain, RESP2 | plain, RESP3 | ContextTimeoutEnabled | client-side caching | Cluster | Sentinel | faults |" >"$table"
  echo "| --- | --- | --- | --- | --- | --- | --- | --- |" >>"$table"
  if command -v redis-server >/dev/null; then
    one "$(command -v redis-server)" path >>"$table" || failed=1
  fi
  one "$home/bin/redis-server" redis >>"$table" || failed=1
  one "$home/bin/valkey-server" valkey >>"$table" || failed=1
  cat "$table"
  [[ -z $failed ]]
}

case ${1:-} in
fetch) fetch ;;
test) run_tests ;;
*)
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
  ;;
esac
