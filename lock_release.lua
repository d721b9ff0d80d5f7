-- Release a lease, if it is still held.
--
-- KEYS[1]  the lock
-- ARGV[1]  token of any sending of its acquire, because a caller that stopped waiting
--          does not know which sending was granted
-- ARGV[2]  channel            ARGV[3]  message, also if the lease is lost and has no
--          holder; see lock_store.lua
--
-- Answers  {'held' (until now) or 'lost', why nothing could be published or ''}.
--
-- A release that is sent again after it took effect answers 'lost', because it leaves no trace. The
-- caller then looks the key up again. That costs a round trip, but never gives a wrong value.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[2], message)
  return type(reply) == 'table' and reply.err or ''
end

local function base(token)
  return string.match(token, '^(.*)%.%d+$') or token
end
local holder = redis.pcall('GET', KEYS[1])
if type(holder) ~= 'string' or base(holder) ~= base(ARGV[1]) then
  return {'lost', not holder and tell(ARGV[3]) or ''}
end
redis.call('DEL', KEYS[1])
return {'held', tell(ARGV[3])}
