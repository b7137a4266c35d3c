-- Loads the record at KEYS[1] into locals. What is no record of ours is answered {0} and left alone.
local key = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local nobody = string.rep('\0', 16)
local s, o, f, e, n, a, l, b, x, p, c, r, w =
  unpack(redis.call('HMGET', key, 's', 'o', 'f', 'e', 'n', 'a', 'l', 'b', 'x', 'p', 'c', 'r', 'w'))
if s then
  n, a, x, l, b = tonumber(n), tonumber(a), tonumber(x), tonumber(l or now), tonumber(b or now)
  local known = (s == 'd' and r) or ((s == 'i' or s == 'h') and not r)
  if not (known and o and #o == 16 and f and #f == 32 and e and #e == 16 and n and a and x and l and b) then return {0} end
  p = p or ''
  if x <= now then -- due, but not yet expired by the server
    redis.call('DEL', key)
    s, p, c, r, w = false, '', false, false, false
  end
elseif redis.call('EXISTS', key) == 1 then
  return {0}
end
local function int(v) return string.format('%.0f', v) end
local function fence() return e .. string.format('%014x', n) end
local function reply(status)
  return {status, s, o, f, fence(), a, l - now, now - b, x - now, p, c, r, ''}
end
-- Notes in KEYS[2], if it is given, that the peer has missed this write of ident.
local function mark(ident)
  if KEYS[2] then
    local count = redis.call('HINCRBY', KEYS[2], '#', 1)
    redis.call('HSET', KEYS[2], ident, count .. ' ' .. fence())
  end
end
-- Writes fields and when the record expires.
local function keep(micros, ...)
  x = now + micros
  redis.call('HSET', key, 'x', int(x), ...)
  redis.call('PEXPIRE', key, int(math.max(1, math.ceil(micros / 1000))))
end
local function wake(channel)
  if w then redis.call('PUBLISH', channel, '') end
end
