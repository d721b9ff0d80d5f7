-- Make entries stale at most, and delete their leases, in one step. A computation that began before
-- has lost its lease, and stores nothing. The entries are those of all releases for the same
-- arguments.
--
-- KEYS     an entry, its lock, another entry, its lock, ...
-- ARGV[1]  channel            ARGV[2], ...  a message for each entry
--
-- Answers  {'held', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[1], message)
  return type(reply) == 'table' and reply.err or ''
end

for i = 1, #KEYS, 2 do
  -- The magic bytes, the version that this protocol writes, and the flags.
  local head = redis.pcall('GETRANGE', KEYS[i], 0, 5)
  if type(head) == 'string' and #head == 6 and string.sub(head, 1, 5) == '\245fnc\1' then
    local flags = string.byte(head, 6)
    if math.floor(flags / 8) % 2 == 0 then
      redis.call('SETRANGE', KEYS[i], 5, string.char(flags + 8))
    end
  end
  redis.call('DEL', KEYS[i + 1])
end
local refused = ''
for i = 2, #ARGV do
  refused = tell(ARGV[i])
end
return {'held', refused}
