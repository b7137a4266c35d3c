-- Loads the record at KEYS[1]: v its text, s its state; both nil if there is none. What is no record of ours is
-- answered {0} and left alone. The layout is in script.go. Numbers are written with %d: %f costs a microsecond.
local key, sub, format = KEYS[1], string.sub, string.format
local v = redis.call('GET', key)
local clock = redis.call('TIME')
local now = tonumber(clock[1], 10) * 1000 + math.floor(tonumber(clock[2], 10) / 1000)
local s
if v then
  s = sub(v, 4, 4)
  local due = tonumber(sub(v, 121, 133), 10)
  if sub(v, 1, 3) ~= 'hf1' or #v < 142 or not due or not (s == 'i' or s == 'h' or s == 'd') then return {0} end
  if due <= now then v, s = nil, nil end -- not yet expired by the server
end
