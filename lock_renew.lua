-- Renew a lease, if it is still held.
--
-- KEYS[1]  the lock
-- ARGV[1]  token
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  channel
-- ARGV[4]  message if the lease is lost and has no holder; see lock_store.lua
--
-- Answers  {'held' or 'lost', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[3], message)
  return type(reply) == 'table' and reply.err or ''
end

local holder = redis.pcall('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'held', ''}
end
return {'lost', not holder and tell(ARGV[4]) or ''}
