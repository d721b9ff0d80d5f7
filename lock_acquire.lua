-- Acquire the lease on an entry, or report why it is not granted.
--
-- KEYS[1]  the entry          KEYS[2]  the lock
-- ARGV[1]  token, random per acquire. An acquire that is sent again appends the number of
--          the sending: T, T.2, T.3
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  'compare': give back an entry that is not the one the caller saw
--          'refresh': recompute even if there is a fresh entry
-- ARGV[4]  the first 32 bytes of what the caller saw; '' for nothing
-- ARGV[5]  '1' if what the caller saw is stale and can be served
--
-- Answers  {'acquired', present, the token that is in the lock}
--          {'held', value of the lock, its life in ms, present}
--          {'changed', entry}
-- present is 1 if the entry is still there. Otherwise the caller no longer has a stale entry to
-- serve. It is 2 if the key holds another type than a string, and else 0.

-- A key of another type reads as absent: no such entry can be served, and no such lock is a
-- lease. SET replaces either.
local function read(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
      return false
    end
    return reply
  end
  return reply
end

local holder = read('GET', KEYS[2])
if type(holder) == 'table' then
  return holder
end
local head = read('GETRANGE', KEYS[1], 0, 31)
if type(head) == 'table' then
  return head
end
local present = 0
if head and head ~= '' then
  present = 1
elseif head == false then -- a key that is absent reads as ''
  present = 2
end

-- The same acquire again: the client resent it after a lost reply. The lease goes over to the
-- later sending. With the same token each time, this could happen:
--   1. the first sending is held up on its way, the second is granted;
--   2. the key is invalidated, so that the lease is lost;
--   3. the first sending arrives, and the lock holds the token again;
--   4. store finds it, and writes what was computed before the invalidation.
local function parts(token)
  local base, sending = string.match(token, '^(.*)%.(%d+)$')
  return base or token, tonumber(sending or 1)
end
if holder then
  local base, sending = parts(ARGV[1])
  local heldBase, heldSending = parts(holder)
  if base == heldBase then
    if sending > heldSending then
      redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
      holder = ARGV[1]
    end
    return {'acquired', present, holder}
  end
end

local refresh = ARGV[3] == 'refresh'
if not refresh and present == 1 and head ~= ARGV[4] then
  return {'changed', redis.call('GET', KEYS[1])}
end

-- A cooling lock stops recomputing only while callers have a stale entry to serve. An open lock
-- says that the last value could not be stored, so callers compute without a lease instead of
-- queueing for one. Only a refresh replaces it.
local servable = present == 1 and ARGV[5] == '1'
local mark = holder and string.sub(holder, 1, 5)
local cooling, open = mark == 'cool:', mark == 'open:'
if not holder or (cooling and (refresh or not servable)) or (open and refresh) then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return {'acquired', present, ARGV[1]}
end

-- This protocol writes no lock without an expiry or without a token. Such a lock gets the life of a
-- lease. Otherwise no caller could compute while it lives. A lock with a token may live longer than
-- this caller's lease, because its holder may use a longer one. A token is the text of newToken
-- with the number of the sending. A later release may make longer ones.
local function holdsToken()
  local token = parts((cooling or open) and string.sub(holder, 6) or holder)
  return #token >= 26 and not string.find(token, '[^A-Z2-7]')
end
local left = redis.call('PTTL', KEYS[2])
if left < 0 or (left > tonumber(ARGV[2]) and not holdsToken()) then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  left = tonumber(ARGV[2])
end
return {'held', holder, left, present}
