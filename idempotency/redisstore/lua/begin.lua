local claim, kept, flags, given, ident = unpack(ARGV) -- claim: the record of a first attempt
given = tonumber(given or '0', 10)
local epoch, lease = sub(claim, 55, 70), kept - tonumber(sub(claim, 95, 107), 10)
local prior, attempt, waited, saved = '0', 1, '0', '000000000'
if v then
  if sub(v, 23, 54) ~= sub(claim, 23, 54) then return {3, v, left} end
  if s == 'd' then
    local missed = string.find(flags, 'm', 1, true) and call('HGET', KEYS[2], ident)
    return {2, v, left, missed or nil}
  end
  local e, live = sub(v, 55, 70), s == 'i' and left > number(95, 107)
  if s == 'i' and sub(v, 7, 22) == sub(claim, 7, 22) then
    v = sub(v, 1, 94) .. before(left - lease) .. sub(v, 108)
    call('SET', key, v, 'KEEPTTL')
    if string.find(flags, 'u', 1, true) then mark(ident, fence(e, sub(v, 71, 86)), kept) end
    return {1, v, left}
  end
  if live and epoch <= e then
    if string.find(flags, 'w', 1, true) and sub(v, 6, 6) == '0' then
      v = sub(v, 1, 5) .. '1' .. sub(v, 7)
      call('SET', key, v, 'KEEPTTL')
    end
    return {4, v, left}
  end
  if s == 'i' and not string.find(flags, 'a', 1, true) then return {5, v, left} end
  if s == 'h' and not string.find(flags, 'h', 1, true) then return {6, v, left} end
  if epoch < e then return {8, v, left} end
  prior, attempt, waited, saved, last = s, number(87, 94) + 1, sub(v, 6, 6), sub(v, 121), number(71, 86)
  if epoch > e and given > 0 then last = 0 end -- any fence of the new epoch is higher
elseif string.find(flags, 'e', 1, true) then
  return {7}
end
last = last or 0
local n = given
if n <= last then
  local clock = call('TIME')
  n = math.max(last + 1, tonumber(clock[1], 10) * 1000000 + tonumber(clock[2], 10))
end
v = 'hf2i' .. prior .. waited .. sub(claim, 7, 70) .. format('%016d%08d', n, attempt) .. sub(claim, 95, 120) .. saved
call('SET', key, v, 'PX', kept)
if string.find(flags, 'u', 1, true) then mark(ident, fence(epoch, sub(v, 71, 86)), kept) end
return {1, v, tonumber(kept)}
