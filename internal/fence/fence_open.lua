-- The head of each script of the fence. The package documentation describes the fence.
--
-- KEYS[1]  the fence
-- ARGV[1]  the epoch to make if needed
-- ARGV[2]  the server's time as a stamp, as the caller knows it, or 0
-- ARGV[3]  the largest stamp that the caller has seen, or 0

local function number(text)
  return text and #text <= 17 and string.find(text, '^[1-9]%d*$') and text or nil
end
-- Numbers are compared as texts: a number of Lua has 53 bits.
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end
local function larger(a, b)
  return less(a, b) and b or a
end

-- Makes an epoch if there is none and make is true, or if the fence went back, that is, if its
-- stamp is below what the caller has seen. The new epoch begins above all that was seen, so that it
-- is noticed if an older epoch comes back. If the script is sent again, or by another caller that
-- has seen as much, there is nothing to do.
--
-- Returns the present stamp, or nil if there is no fence. If the fence cannot be read, returns nil
-- and the error.
local function open(make)
  local head = redis.pcall('HMGET', KEYS[1], 'e', 'c', 'f')
  if head.err then
    if not string.find(head.err, 'WRONGTYPE', 1, true) then
      return nil, head
    end
    head = {false, false, false} -- a key of another type is not a fence of this protocol
  end
  local epoch, now = head[1], number(head[2])
  if now and #now > 16 then
    now = nil -- damaged: no epoch could begin above it
  end
  local floor = now and number(head[3])
  if floor and less(now, floor) then
    floor = nil -- damaged: nothing could be stored before the stamps reach it
  end
  local known = floor and epoch and #epoch == 32 and string.find(epoch, '^[0-9a-f]+$')
  if known and not less(now, ARGV[3]) then
    return now
  end
  if not known and not make then
    return nil
  end
  if not now then
    -- Fields may have any stamps. If they stayed, they could overtake all that is stored from now
    -- on.
    redis.call('DEL', KEYS[1])
  end
  redis.call('HSET', KEYS[1], 'c', larger(larger(now or '0', number(ARGV[3]) or '0'), number(ARGV[2]) or '0'))
  redis.call('HINCRBY', KEYS[1], 'c', 1) -- its answer would be a number of Lua
  now = redis.call('HGET', KEYS[1], 'c')
  redis.call('HSET', KEYS[1], 'e', ARGV[1], 'f', now)
  return now
end
