-- Store a result and release the lease, if it is still held.
--
-- Correctness rests on the compare: a caller that lost the lease, by expiry or by an
-- invalidation, writes nothing.
--
-- KEYS[1]  the entry          KEYS[2]  the lock
-- ARGV[1]  token
-- ARGV[2]  the envelope
-- ARGV[3]  timeout, milliseconds
-- ARGV[4]  the envelope's id, 8 bytes, as at offset 24
-- ARGV[5]  channel            ARGV[6]  message
-- ARGV[7]  message if the lease is lost and has no holder
--
-- Answers  {'held' (stored) or 'lost', why nothing could be published or ''}.

-- Without the right to publish this step must still succeed: the answer has the error of
-- PUBLISH.
local function tell(message)
  local reply = redis.pcall('PUBLISH', ARGV[5], message)
  return type(reply) == 'table' and reply.err or ''
end

-- The same store again: the client resent it after a lost reply.
if redis.pcall('GETRANGE', KEYS[1], 24, 31) == ARGV[4] then
  return {'held', ''}
end
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then
  -- The lease is lost and has no holder, for example after an eviction. Callers that wait for its
  -- release would otherwise wait until it would have expired.
  return {'lost', not redis.pcall('GET', KEYS[2]) and tell(ARGV[7]) or ''}
end
-- The entry is written first. If it does not fit into memory, the script ends here, and the lease
-- is still there to be released.
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return {'held', tell(ARGV[6])}
