-- Delete entries and their leases in one step. A computation that began before has lost its lease,
-- and cannot bring the old value back. The entries are those of all releases for the same
-- arguments.
--
-- KEYS     an entry, its lock, another entry, its lock, ...
-- ARGV[1]  channel            ARGV[2], ...  a message for each entry
--
-- Answers  {'held', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[1], message)
  return type(reply) == 'table' and reply.err or ''
end

for i = 1, #KEYS do
  redis.call('DEL', KEYS[i])
end
local refused = ''
for i = 2, #ARGV do
  refused = tell(ARGV[i])
end
return {'held', refused}
