
-- Invalidate tags: entries computed before are invalid from now on, or stale at most.
--
-- ARGV[4]  'h': invalid; 's': stale at most
-- ARGV[5]  channel
-- ARGV[6]  how many fields of tags the fence may have
-- ARGV[7]  how many fields are removed at most if it has more
-- ARGV[8], ...  tags
--
-- Answers  {stamp, why nothing could be published or ''}.
--
-- If the script is sent again, the tags get a larger stamp. That costs computations, but never
-- gives a wrong value.

local now, fault = open(true)
if fault then
  return fault
end
redis.call('HINCRBY', KEYS[1], 'c', 1)
now = number(redis.call('HGET', KEYS[1], 'c')) or open(true)
now = larger(now, number(ARGV[2]) or '0')

-- The stamps of a field. A stamp that cannot be read, or is larger than the present one, is
-- replaced by the present one.
local function stamp(text)
  local known = text == '0' and text or number(text)
  return known and not less(now, known) and known or now
end
local function stamps(field)
  if not field then
    return '0', '0'
  end
  local hard, soft = string.match(field, '^(%d+) (%d+)$')
  return stamp(hard), stamp(soft)
end

local tags, mine = {}, {e = true, c = true, f = true}
for i = 8, #ARGV do
  tags[i - 7] = ARGV[i]
  mine[ARGV[i]] = true
end
local known = redis.call('HMGET', KEYS[1], unpack(tags))
local write = {'c', now}
for i, tag in ipairs(tags) do
  local hard, soft = stamps(known[i])
  if ARGV[4] == 'h' then
    hard = now
  else
    soft = now
  end
  write[2 * i + 1], write[2 * i + 2] = tag, hard .. ' ' .. soft
end
redis.call('HSET', KEYS[1], unpack(write))

-- If there are too many fields, the oldest of a sample are removed. The floor rises first, so that
-- entries with lower stamps are invalid.
local excess = redis.call('HLEN', KEYS[1]) - 3 - tonumber(ARGV[6])
if excess > 0 then
  local most = math.min(excess, tonumber(ARGV[7]))
  local sample = redis.pcall('HRANDFIELD', KEYS[1], 4 * most, 'WITHVALUES')
  if sample.err then
    if not string.find(sample.err, 'nknown', 1, true) then
      return sample
    end
    -- A server before 6.2 has no HRANDFIELD. Begin again, with a new epoch.
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'c', now)
    open(true)
    sample = {}
  end
  local old = {}
  for i = 1, #sample, 2 do
    if not mine[sample[i]] then
      table.insert(old, {tag = sample[i], stamp = larger(stamps(sample[i + 1]))})
    end
  end
  table.sort(old, function(a, b) return less(a.stamp, b.stamp) end)
  local gone, floor = {}, redis.call('HGET', KEYS[1], 'f')
  for i = 1, math.min(most, #old) do
    gone[i], floor = old[i].tag, larger(floor, old[i].stamp)
  end
  if #gone > 0 then
    redis.call('HSET', KEYS[1], 'f', floor)
    redis.call('HDEL', KEYS[1], unpack(gone))
  end
end

-- A user that may not publish must still be able to invalidate. The answer says why nothing was
-- published.
local reply = redis.pcall('PUBLISH', ARGV[5], 'tags ' .. now .. ' ' .. ARGV[4] .. ' ' .. table.concat(tags, ' '))
return {now, type(reply) == 'table' and reply.err or ''}
