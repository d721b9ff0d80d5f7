-- Keep an entry that was found unchanged, as fresh as one that was just computed, and release the
-- lease, if it is still held. The body of the entry is not sent again.
--
-- Correctness rests on the compares, as in lock_store.lua: a caller writes nothing if it has lost
-- the lease, or if its entry was replaced.
--
-- KEYS[1]  the entry          KEYS[2]  the lock
-- ARGV[1]  token
-- ARGV[2]  the id of the entry, 8 bytes, as at offset 24
-- ARGV[3]  the bytes before the body, exactly as many as the entry has
-- ARGV[4]  timeout, milliseconds
-- ARGV[5]  the new id, 8 bytes, as in ARGV[3]
-- ARGV[6]  channel            ARGV[7]  message
-- ARGV[8]  message if the lease is lost and has no holder
--
-- Answers  {'held' (kept), 'gone' (the lease is held, but the entry was replaced or deleted) or
--          'lost', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[6], message)
  return type(reply) == 'table' and reply.err or ''
end

local id = redis.pcall('GETRANGE', KEYS[1], 24, 31)
-- The same step again: the client resent it after a lost reply.
if id == ARGV[5] then
  return {'held', ''}
end
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then
  return {'lost', not redis.pcall('GET', KEYS[2]) and tell(ARGV[8]) or ''}
end
if id ~= ARGV[2] then
  return {'gone', ''}
end
redis.call('SETRANGE', KEYS[1], 0, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2])
return {'held', tell(ARGV[7])}
