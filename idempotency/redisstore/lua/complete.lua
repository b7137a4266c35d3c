local owner, print, epoch, given, kept, result, channel, ident = unpack(ARGV)
if s == 'd' and o ~= owner then return reply(2) end
if s and s ~= 'd' then
  if o ~= owner and o ~= nobody then return reply(9) end
end
if s ~= 'd' then
  if not s then
    -- The record is lost: nobody else owns the key and the result is true.
    f, e, n, a = print, epoch, tonumber(given), 1
  end
  keep(tonumber(kept), 's', 'd', 'o', owner, 'f', f, 'e', e, 'n', int(n), 'a', int(a), 'p', '', 'r', result)
  if c then redis.call('HDEL', key, 'c') end
  wake(channel)
end
mark(ident)
return {1}
