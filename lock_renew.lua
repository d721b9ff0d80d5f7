-- Renew a lease, if it is still held.
--
-- KEYS[1]  the lock
-- ARGV[1]  token
-- ARGV[2]  lease, milliseconds
--
-- Answers  'held' or 'lost'.

if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'held'
end
return 'lost'
