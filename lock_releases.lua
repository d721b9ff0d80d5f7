-- Read which releases of a function have the same parameter types, and so the same hashes of
-- arguments. A script runs on the primary, wherever the client sends read commands.
--
-- KEYS[1]  the registry of the function; see lock_register.lua
-- ARGV[1]  the fingerprint of the parameter types
--
-- Answers  their signatures.

-- A key of another type is not a registry of this protocol.
local known = redis.pcall('HGETALL', KEYS[1])
if known.err then
  if string.find(known.err, 'WRONGTYPE', 1, true) then
    return {}
  end
  return known
end

local found = {}
for i = 1, #known, 2 do
  local params = string.match(known[i + 1], '^%d+ %d+ (%S+)')
  -- A field that a later release wrote in another form may match too.
  if not params or params == ARGV[1] then
    table.insert(found, known[i])
  end
end
return found
