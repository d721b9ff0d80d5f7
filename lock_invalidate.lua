-- Delete entries and whatever leases are on them, in one step: a computation that
-- began before has lost its lease, and cannot bring the old value back. The entries
-- are those of all releases for the same arguments.
--
-- KEYS     an entry, its lock, another entry, its lock, ...
-- ARGV[1]  channel            ARGV[2], ...  a message for each entry
--
-- Answers  'held'.

for i = 1, #KEYS do
  redis.call('DEL', KEYS[i])
end
for i = 2, #ARGV do
  redis.pcall('PUBLISH', ARGV[1], ARGV[i])
end
return 'held'
