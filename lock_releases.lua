-- Read what the registry of a function has. A script runs on the primary, wherever the client
-- sends read commands.
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
