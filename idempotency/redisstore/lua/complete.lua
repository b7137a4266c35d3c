local owner, print, epoch, given, kept, result, channel, ident = unpack(ARGV)
if s == 'd' and o ~= owner then return reply(2) end
if s and s ~= 'd' then
  if o ~= owner and o ~= nobody then return reply(9) end
end
if s ~= 'd' then
  if not s then
    -- The record is lost: nobody else owns the key and the result is true.
    f, e, n, a, b = print, epoch, tonumber(given), 1, now
  end
  s, o, l, p, c = 'd', owner, now, '', false
  redis.call('HSET', key, 's', s, 'o', o, 'f', f, 'e', e, 'n', int(n), 'a', int(a), 'r', result)
  redis.call('HDEL', key, 'l', 'b', 'p', 'c', 'w')
  keep(tonumber(kept))
  wake(channel)
end
mark(ident)
r = false -- the caller has it
return reply(1)
