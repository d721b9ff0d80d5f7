-- Read the registry of a function. This is a script because a script runs on the primary, even if
-- the client sends read commands to replicas.
--
-- KEYS[1]  the registry of the function; see lock_register.lua
--
-- Answers  a signature, its field, another signature, its field, ...

-- A key of another type is not a registry of this protocol.
local known = redis.pcall('HGETALL', KEYS[1])
if known.err and string.find(known.err, 'WRONGTYPE', 1, true) then
  return {}
end
return known
