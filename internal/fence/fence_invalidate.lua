-- Invalidate tags: what was computed before is invalid from now on, or stale at most.
--
-- KEYS[1]  the fence; see the package documentation
-- ARGV[1]  the least stamp of this invalidation, or 0
-- ARGV[2]  'h': invalid; 's': stale at most
-- ARGV[3]  channel
-- ARGV[4]  how many fields the fence may have
-- ARGV[5]  how many are removed at most where it has more
-- ARGV[6], ...  tags
--
-- Answers  {epoch or '', stamp, why nothing could be published or ''}.
--
-- Sent again it gives the tags a larger stamp: that costs computations, and never gives a
-- wrong value.

local function number(text)
  return text and #text <= 18 and string.find(text, '^[1-9]%d*$') and text or nil
end
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end
local function larger(a, b)
  return less(a, b) and b or a
end
local function stampOrNone(text)
  return text == '0' and text or number(text)
end
-- The stamps of a field. One that cannot be read is taken for the latest.
local function stamps(field, otherwise)
  if not field then
    return '0', '0'
  end
  local hard, soft = string.match(field, '^(%d+) (%d+)$')
  return stampOrNone(hard) or otherwise, stampOrNone(soft) or otherwise
end

local now = redis.pcall('HGET', KEYS[1], 'c')
if type(now) == 'table' and now.err then
  if not string.find(now.err, 'WRONGTYPE', 1, true) then
    return now
  end
  redis.call('DEL', KEYS[1])
  now = false
end
if number(now) then
  redis.call('HINCRBY', KEYS[1], 'c', 1) -- its answer would be a number of Lua
  now = number(redis.call('HGET', KEYS[1], 'c'))
elseif now then
  now = nil
end
if not now then
  -- There is no fence, or none that can be read. Nothing that is stored is valid, and
  -- nothing will be before a caller has made an epoch.
  redis.call('DEL', KEYS[1])
  now = '1'
end
if number(ARGV[1]) then
  now = larger(now, ARGV[1])
end

local tags, mine = {}, {e = true, c = true, f = true}
for i = 6, #ARGV do
  tags[i - 5] = ARGV[i]
  mine[ARGV[i]] = true
end
local known = redis.call('HMGET', KEYS[1], unpack(tags))
local write = {'c', now}
for i, tag in ipairs(tags) do
  local hard, soft = stamps(known[i], now)
  if ARGV[2] == 'h' then
    hard = now
  else
    soft = now
  end
  write[2 * i + 1], write[2 * i + 2] = tag, hard .. ' ' .. soft
end
redis.call('HSET', KEYS[1], unpack(write))

-- Of too many fields the oldest of a sample go, and what is older than they are is invalid.
local excess = redis.call('HLEN', KEYS[1]) - 3 - tonumber(ARGV[4])
if excess > 0 then
  local most = math.min(excess, tonumber(ARGV[5]))
  local sample = redis.call('HRANDFIELD', KEYS[1], 4 * most, 'WITHVALUES')
  local old = {}
  for i = 1, #sample, 2 do
    if not mine[sample[i]] then
      local hard, soft = stamps(sample[i + 1], now)
      table.insert(old, {tag = sample[i], stamp = larger(hard, soft)})
    end
  end
  table.sort(old, function(a, b) return less(a.stamp, b.stamp) end)
  local gone, floor = {}, number(redis.call('HGET', KEYS[1], 'f'))
  for i = 1, math.min(most, #old) do
    gone[i] = old[i].tag
    floor = floor and larger(floor, old[i].stamp)
  end
  if #gone > 0 then
    redis.call('HDEL', KEYS[1], unpack(gone))
    if floor then
      redis.call('HSET', KEYS[1], 'f', floor)
    end
  end
end

local message = 'tags ' .. now .. ' ' .. ARGV[2]
for _, tag in ipairs(tags) do
  message = message .. ' ' .. tag
end
-- A user that may not publish must still be able to do this: what keeps it from
-- publishing is in the answer.
local told = redis.pcall('PUBLISH', ARGV[3], message)
return {redis.call('HGET', KEYS[1], 'e') or '', now, type(told) == 'table' and told.err or ''}
