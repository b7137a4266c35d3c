local who, lease, kept, given, flags, ident = unpack(ARGV) -- who: owner, fingerprint, epoch, as in a record
local epoch = sub(who, 49)
local prior, attempt, last, saved, waited = '0', 1, 0, '000000000', '0'
if v then
  if sub(v, 23, 54) ~= sub(who, 17, 48) then return {3, v, now} end
  if s == 'd' then return {2, v, now} end
  local e, ends = sub(v, 55, 70), number(95, 107)
  last, attempt = number(71, 86), number(87, 94)
  if not (ends and last and attempt) then return {0} end
  if s == 'i' and sub(v, 7, 22) == sub(who, 1, 16) then
    v = sub(v, 1, 94) .. format('%013d', now + lease) .. sub(v, 108)
    redis.call('SET', key, v, 'KEEPTTL')
    if KEYS[2] then mark(ident, e, last) end
    return {1, v, now}
  end
  if s == 'i' and ends > now and epoch <= e then
    if string.find(flags, 'w', 1, true) and sub(v, 6, 6) == '0' then
      v = sub(v, 1, 5) .. '1' .. sub(v, 7)
      redis.call('SET', key, v, 'KEEPTTL')
    end
    return {4, v, now}
  end
  if s == 'i' and not string.find(flags, 'a', 1, true) then return {5, v, now} end
  if s == 'h' and not string.find(flags, 'h', 1, true) then return {6, v, now} end
  if epoch < e then return {8, v, now} end
  prior, attempt, saved, waited = s, attempt + 1, sub(v, 134), sub(v, 6, 6)
  if epoch > e then last = 0 end -- any fence of the new epoch is higher
elseif string.find(flags, 'e', 1, true) then
  return {7}
end
local n = tonumber(given, 10)
if n <= last then
  n = math.max(v and number(71, 86) + 1 or 0, tonumber(clock[1], 10) * 1000000 + tonumber(clock[2], 10))
end
v = 'hf1i' .. prior .. waited .. who .. format('%016d%08d%013d%013d%013d', n, attempt, now + lease, now, now + kept) .. saved
redis.call('SET', key, v, 'PX', kept)
if KEYS[2] then mark(ident, epoch, n) end
return {1, v, now}
