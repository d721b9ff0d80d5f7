-- Delete an entry and whatever lease is on it, in one step: a computation that
-- began before has lost its lease, and cannot bring the old value back.
--
-- KEYS[1]  the entry          KEYS[2]  the lock
-- ARGV[1]  channel            ARGV[2]  message
--
-- Answers  'held'.

redis.call('DEL', KEYS[1], KEYS[2])
redis.pcall('PUBLISH', ARGV[1], ARGV[2])
return 'held'
