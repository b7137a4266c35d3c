local owner, print, epoch, n, kept, result, channel, ident = unpack(ARGV)
if s == 'd' and sub(v, 7, 22) ~= owner then return {2, v, now} end
n = tonumber(n, 10)
if v then
  epoch, n = sub(v, 55, 70), number(71, 86)
  if not n then return {0} end
end
if s ~= 'd' then
  local wait = false
  if v then
    local o = sub(v, 7, 22)
    if o ~= owner and o ~= string.rep('\0', 16) then return {9, v, now} end
    wait = sub(v, 6, 6) == '1'
    v = 'hf1d00' .. owner .. sub(v, 23, 142) .. '000000000' .. result
  else
    -- The record is lost: nobody else owns the key and the result is true.
    v = 'hf1d00' .. owner .. print .. epoch .. format('%016.0f%08.0f%016.0f%016.0f%016.0f', n, 1, now, now, 0) .. '000000000' .. result
  end
  write(tonumber(kept, 10), v)
  if wait then redis.call('PUBLISH', channel, '') end
end
mark(ident, epoch, n)
return {1}
