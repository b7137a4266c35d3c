local owner, print, lease, kept, epoch, given, flags, ident = unpack(ARGV)
lease, kept, given = tonumber(lease, 10), tonumber(kept, 10), tonumber(given, 10)
local prior, attempt, last, saved, waited = '0', 1, 0, '000000000', '0'
if v then
  if sub(v, 23, 54) ~= print then return {3, v, now} end
  if s == 'd' then return {2, v, now} end
  local e, ends = sub(v, 55, 70), number(95, 110)
  last, attempt = number(71, 86), number(87, 94)
  if not (ends and last and attempt) then return {0} end
  if s == 'i' and sub(v, 7, 22) == owner then
    v = sub(v, 1, 94) .. format('%016.0f', now + lease) .. sub(v, 111)
    redis.call('SET', key, v, 'KEEPTTL')
    mark(ident, e, last)
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
  if not (given > 0 and (epoch > e or given > last)) then given = 0 end
  prior, attempt, saved, waited = s, attempt + 1, sub(v, 143), sub(v, 6, 6)
elseif string.find(flags, 'e', 1, true) then
  return {7}
end
if given == 0 then given = math.max(last + 1, now) end
write(kept, 'hf1i' .. prior .. waited .. owner .. print .. epoch ..
  format('%016.0f%08.0f%016.0f%016.0f%016.0f', given, attempt, now + lease, now, 0) .. saved)
mark(ident, epoch, given)
return {1, v, now}
