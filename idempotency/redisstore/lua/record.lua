-- v is the text at KEYS[1]; below it s is its state and left what it has left, and all three are nil if there is no record.
-- What is no record of ours is answered {0} and left alone. The layout is in script.go. Numbers are written with %d: %f costs a
-- microsecond.
local key, sub, format, call = KEYS[1], string.sub, string.format, redis.call
local function number(from, to) return tonumber(sub(v, from, to), 10) end
local s, left, last
if v then
  left = call('PTTL', key)
  if left == -2 then v, left = nil, nil end -- it has expired since it was read: not every server's clock stands still in a script
end
if v then
  s = sub(v, 4, 4)
  if sub(v, 1, 3) ~= 'hf2' or #v < 129 or left < 0 then return {0} end
  local n, began = number(71, 86), number(108, 120)
  if not (n and began and number(87, 94) and number(95, 107)) then return {0} end
  if n == 0 then v = sub(v, 1, 70) .. format('%016d', (call('PEXPIRETIME', key) - began) * 1000) .. sub(v, 87) end
  if s == 'x' then
    last, v, s, left = number(71, 86), nil, nil, nil
  elseif not (s == 'i' or s == 'h' or s == 'd') then
    return {0}
  end
end
