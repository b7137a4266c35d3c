local function number(from, to) return tonumber(sub(v, from, to), 10) end
-- Notes in KEYS[2], if it is given, that the peer has missed a write of ident under a fence.
local function mark(ident, epoch, n)
  local count = redis.call('HINCRBY', KEYS[2], '#', 1)
  redis.call('HSET', KEYS[2], ident, format('%d %s%014x', count, epoch, tonumber(n)))
end
