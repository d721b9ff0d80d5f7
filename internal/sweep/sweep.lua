-- Delete entries and the leases on them in one step. A computation that began before has lost
-- its lease, and cannot bring the old value back. UNLINK does not block the server if another
-- program has stored something large under such a key. Nothing is published: the process
-- that sweeps publishes one event for the whole function.
--
-- KEYS     an entry, its lock, another entry, its lock, ...
--
-- Answers  how many entries there were.

local removed = 0
for i = 1, #KEYS, 2 do
  removed = removed + redis.call('UNLINK', KEYS[i])
  redis.call('UNLINK', KEYS[i + 1])
end
return removed
