-- Register a release of a function, so that invalidations by other releases reach what it stores,
-- and forget releases that have not been registered for a long time.
--
-- KEYS[1]  the registry of the function: a hash of `<seen> <kept> <parameters>` by signature.
--          More words may follow.
-- ARGV[1]  the signature      ARGV[2]  the fingerprint of the parameter types, and the words after
--          it: see internal/releases
-- ARGV[3]  now                ARGV[4]  until when the release is kept
--          both in Unix seconds on the server's clock
-- ARGV[5]  how many releases are kept at most
-- ARGV[6]  releases that are kept until a time before this one are forgotten: now, or 0 if
--          the server's clock is not known
--
-- Answers  1 if the registry did not have the release, else 0.

-- A key of another type is not a registry of this protocol.
local known = redis.pcall('HGETALL', KEYS[1])
if known.err then
  if not string.find(known.err, 'WRONGTYPE', 1, true) then
    return known
  end
  redis.call('DEL', KEYS[1])
  known = {}
end

local now, outdated, kept, missing = tonumber(ARGV[3]), tonumber(ARGV[6]), ARGV[4], 1
local others = {}
for i = 1, #known, 2 do
  -- A field that a later release wrote in another form counts as seen now.
  local seen, stays = string.match(known[i + 1], '^(%d+) (%d+) ')
  if known[i] == ARGV[1] then
    missing = 0
    -- Another process may have a longer Timeout.
    if stays and tonumber(stays) > tonumber(kept) then
      kept = stays
    end
  elseif stays and tonumber(stays) < outdated then
    redis.call('HDEL', KEYS[1], known[i])
  else
    table.insert(others, {sig = known[i], seen = tonumber(seen) or now})
  end
end

-- Above the limit, the releases that were seen longest ago are deleted.
table.sort(others, function(a, b) return a.seen < b.seen end)
for i = 1, #others + 1 - tonumber(ARGV[5]) do
  redis.call('HDEL', KEYS[1], others[i].sig)
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. kept .. ' ' .. ARGV[2])
return missing
