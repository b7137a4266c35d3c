local who, n, kept, result, ident = unpack(ARGV)
local owner, epoch = sub(who, 1, 16), sub(who, 49)
if s == 'd' and sub(v, 7, 22) ~= owner then return {2, v, now} end
if v then
  epoch, n = sub(v, 55, 70), number(71, 86)
  if not n then return {0} end
end
if s ~= 'd' then
  local head
  if v then
    local o = sub(v, 7, 22)
    if o ~= owner and o ~= string.rep('\0', 16) then return {9, v, now} end
    head = sub(v, 23, 120)
  else
    -- The record is lost: nobody else owns the key and the result is true.
    head = sub(who, 17) .. format('%016d%08d%013d%013d', tonumber(n, 10), 1, now, now)
  end
  redis.call('SET', key, 'hf1d00' .. owner .. head .. format('%013d', now + kept) .. '000000000' .. result, 'PX', kept)
  if v and sub(v, 6, 6) == '1' then redis.call('PUBLISH', key, '') end
end
if KEYS[2] then mark(ident, epoch, n) end
return {1}
