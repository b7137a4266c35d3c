-- Loads the record at KEYS[1]: v its text, s its state; both nil if there is none. What is no record of ours is
-- answered {0} and left alone. The layout is in script.go.
local key, sub, format = KEYS[1], string.sub, string.format
local v = redis.call('GET', key)
local clock = redis.call('TIME')
local now = tonumber(clock[1], 10) * 1000000 + tonumber(clock[2], 10)
local s
if v then
  s = sub(v, 4, 4)
  local due = tonumber(sub(v, 127, 142), 10)
  if sub(v, 1, 3) ~= 'hf1' or #v < 151 or not due or not (s == 'i' or s == 'h' or s == 'd') then return {0} end
  if due <= now then v, s = nil, nil end -- not yet expired by the server
end
local function number(from, to) return tonumber(sub(v, from, to), 10) end
local function write(kept, text) -- text has a place for the time of expiry
  v = format('%s%016.0f', sub(text, 1, 126), now + kept) .. sub(text, 143)
  redis.call('SET', key, v, 'PX', format('%.0f', math.max(1, math.ceil(kept / 1000))))
end
-- Notes in KEYS[2], if it is given, that the peer has missed a write of ident under a fence.
local function mark(ident, epoch, n)
  if KEYS[2] then
    local count = redis.call('HINCRBY', KEYS[2], '#', 1)
    redis.call('HSET', KEYS[2], ident, format('%.0f', count) .. ' ' .. epoch .. format('%014x', n))
  end
end
