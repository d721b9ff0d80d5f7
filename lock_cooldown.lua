-- Turn a lease into a cooldown: a lock that nobody renews, so that a failing
-- function is left alone for a while. A late renew does not find its token.
--
-- KEYS[1]  the lock
-- ARGV[1]  token
-- ARGV[2]  cooldown, milliseconds
-- ARGV[3]  channel            ARGV[4]  message
-- ARGV[5]  message if the lease is lost, and nobody has it; see lock_store.lua
--
-- Answers  'held' (cooling now) or 'lost'.

local holder = redis.pcall('GET', KEYS[1])
-- The same cool down again: the client resent it after a lost reply.
if holder == 'cool:' .. ARGV[1] then
  return 'held'
end
if holder ~= ARGV[1] then
  if not holder then
    redis.pcall('PUBLISH', ARGV[3], ARGV[5])
  end
  return 'lost'
end
redis.call('SET', KEYS[1], 'cool:' .. ARGV[1], 'PX', ARGV[2])
redis.pcall('PUBLISH', ARGV[3], ARGV[4])
return 'held'
