-- Turn a lease into a lock that no holder renews, for a limited time. It is either a cooldown, during
-- which a failing function is not called, or an open lock, during which callers compute without a
-- lease. A late renew does not find its token.
--
-- KEYS[1]  the lock
-- ARGV[1]  token
-- ARGV[2]  how long, milliseconds
-- ARGV[3]  channel            ARGV[4]  message
-- ARGV[5]  message if the lease is lost and has no holder; see lock_store.lua
-- ARGV[6]  prefix of the token in the lock: 'cool:' or 'open:'
--
-- Answers  {'held' (cooling or open now) or 'lost', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[3], message)
  return type(reply) == 'table' and reply.err or ''
end

local holder = redis.pcall('GET', KEYS[1])
-- The same cool down again: the client resent it after a lost reply.
if holder == ARGV[6] .. ARGV[1] then
  return {'held', ''}
end
if holder ~= ARGV[1] then
  return {'lost', not holder and tell(ARGV[5]) or ''}
end
redis.call('SET', KEYS[1], ARGV[6] .. ARGV[1], 'PX', ARGV[2])
return {'held', tell(ARGV[4])}
