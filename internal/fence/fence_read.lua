
-- Read the fence, on the primary.
--
-- ARGV[4]  '1': make an epoch if there is none
-- ARGV[5], ...  tags
--
-- Answers  the values of e, c, f and of the fields of the tags.

local now, fault = open(ARGV[4] == '1')
if fault then
  return fault
end
local fields = {'e', 'c', 'f'}
for i = 5, #ARGV do
  fields[i - 1] = ARGV[i]
end
if not now then
  local none = {}
  for i = 1, #fields do
    none[i] = false
  end
  return none
end
return redis.call('HMGET', KEYS[1], unpack(fields))
