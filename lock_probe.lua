-- Find out whether the server runs scripts that write: a replica refuses them.
--
-- KEYS[1]  a key under which nothing is stored, in the slot of an entry
--
-- Answers 0, and changes nothing.

return redis.call('DEL', KEYS[1])
