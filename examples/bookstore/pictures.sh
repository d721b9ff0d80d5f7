#!/bin/sh
# Takes the pictures of docs/pictures: the pages of the bookstore and of fncachedebug, under load,
# at two widths, light and dark. It needs Go, Chromium and curl (Debian: apt-get install chromium), and
# takes some minutes.
#
#   examples/bookstore/pictures.sh [DIR]      DIR: docs/pictures
set -eu
cd "$(dirname "$0")"
out=${1:-../../docs/pictures}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
at=127.0.0.1:8097
go build -o "$work/bookstore" .
go build -o "$work/trim" ./trim
"$work/bookstore" -quick -serve $at >"$work/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null; rm -rf "$work"' EXIT
until curl -sf "http://$at/live" >/dev/null; do sleep 1; done # it fills its database first

# shot NAME PATH WIDTH SCHEME takes a picture of a whole page. No page is higher than 4,000 pixels.
shot() {
  [ "$4" = dark ] && prefer=0 || prefer=1
  timeout 60 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
    --blink-settings=preferredColorScheme=$prefer --window-size="$3,4000" --screenshot="$work/$1-$3-$4.png" "http://$at$2" >/dev/null 2>&1
}

# picture NAME PATH takes four pictures.
picture() {
  for width in 1280 390; do
    for scheme in light dark; do
      shot "$1" "$2" $width $scheme
    done
  done
}

# away NAME PATH takes two pictures while Redis is stopped, which it is for ten seconds.
away() {
  for picture in '1280 light' '390 dark'; do
    press walk
    until curl -s "http://$at/live" | grep -q 'Redis answers</p>'; do sleep 1; done
    press stop
    sleep 1
    shot "$1" "$2" $picture # two words
  done
}


press() { curl -s -o /dev/null -X POST --data-urlencode "author=$author" "http://$at/do/$1"; }
author='Jane Austen'
name='page=function&name=Author:TopBooks'

picture debug-now-empty /debug/fncache
picture debug-function-empty "/debug/fncache?$name"
picture debug-key-empty "/debug/fncache?page=key&name=Author:TopBooks&args=%5B%22Nobody%22%5D"
press walk
press cold-burst
sleep 45 # load for the chart, which has a column for ten seconds
picture shop-author "/authors/Jane%20Austen/top"
picture shop-authors /
picture shop-book /books/14
press walk # for another minute
picture debug-now /debug/fncache
picture debug-function "/debug/fncache?$name"
picture debug-key "/debug/fncache?page=key&name=Author:TopBooks&args=%5B%22Jane%20Austen%22%5D"
away debug-now-away /debug/fncache
away debug-function-away "/debug/fncache?$name"
away debug-key-away "/debug/fncache?page=key&name=Author:TopBooks&args=%5B%22Jane%20Austen%22%5D"
away shop-away /

"$work/trim" "$work"/*.png
# Few colours make the pictures small.
for file in "$work"/*.png; do
  if command -v pngquant >/dev/null; then
    pngquant --force --output "$out/$(basename "$file")" 128 "$file"
  else
    cp "$file" "$out/"
  fi
done
ls -l "$out"
