-- Read the fence on the primary, and make one if need be.
--
-- KEYS[1]  the fence; see the package documentation
-- ARGV[1]  '1': make an epoch if there is none
-- ARGV[2]  the epoch to make
-- ARGV[3]  the least stamp to begin with, or 0
-- ARGV[4]  an epoch that the caller has seen, or ''
-- ARGV[5]  the largest stamp that it has seen of it; a fence that is behind it went back, and
--          gets a new epoch, by which all that is stored is invalid
-- ARGV[6], ...  tags
--
-- Answers  the values of e, c, f and of the fields of the tags.
--
-- Sent again it finds the epoch that it made, or another caller did, and changes nothing.

local function number(text)
  return text and #text <= 18 and string.find(text, '^[1-9]%d*$') and text or nil
end
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end

local head = redis.pcall('HMGET', KEYS[1], 'e', 'c', 'f')
local foreign = head.err ~= nil
if foreign then
  if not string.find(head.err, 'WRONGTYPE', 1, true) then
    return head
  end
  head = {false, false, false} -- of another type: no fence of this protocol
end
local epoch, now = head[1], number(head[2])
local known = epoch and #epoch == 32 and string.find(epoch, '^[0-9a-f]+$') and now and number(head[3])
local back = known and epoch == ARGV[4] and less(now, ARGV[5])

if back or (ARGV[1] == '1' and not known) then
  if not now then
    -- Fields may hold any stamps. Were they to stay, they would overtake what is stored
    -- from now on.
    redis.call('DEL', KEYS[1])
    now = '1'
  end
  if number(ARGV[3]) and less(now, ARGV[3]) then
    now = ARGV[3]
  end
  if back and less(now, ARGV[5]) then
    now = ARGV[5]
  end
  redis.call('HSET', KEYS[1], 'e', ARGV[2], 'c', now, 'f', now)
  foreign = false
end

local fields = {'e', 'c', 'f'}
for i = 6, #ARGV do
  fields[i - 2] = ARGV[i]
end
if foreign then
  local none = {}
  for i = 1, #fields do
    none[i] = false
  end
  return none
end
return redis.call('HMGET', KEYS[1], unpack(fields))
