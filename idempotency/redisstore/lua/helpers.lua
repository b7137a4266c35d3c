local function fence(epoch, n) return epoch .. format('%014x', tonumber(n, 10)) end
-- Deletes the record; its fence is remembered until the clock has passed it, so that the next one is higher.
local function drop()
  local clock = call('TIME')
  local ahead = math.floor(number(71, 86) / 1000) - (tonumber(clock[1], 10) * 1000 + math.floor(tonumber(clock[2], 10) / 1000))
  if ahead < 0 then
    call('DEL', key)
  else
    call('SET', key, 'hf2x' .. sub(v, 5, 120) .. '000000000', 'PX', format('%d', math.min(ahead + 2, 86400000)))
  end
end
-- A time before the record's end, in 13 digits.
local function before(ms) return format('%013d', math.max(0, ms)) end
