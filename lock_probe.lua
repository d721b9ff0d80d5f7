-- Find out whether scripts that write are run again: only a command that writes
-- tells a primary from a replica.
--
-- KEYS[1]  a key that nothing is ever stored under, in the slot of an entry
--
-- Answers 0, and changes nothing.

return redis.call('DEL', KEYS[1])
