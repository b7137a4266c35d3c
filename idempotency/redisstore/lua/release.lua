local owner, print, epoch, given, hold, kept, channel, ident = unpack(ARGV)
if not s then
  e, n = epoch, tonumber(given)
  if hold == '' then
    mark(ident)
    return {7}
  end
  -- The record is lost and the outcome unknown: remember that it is.
  keep(tonumber(kept), 's', 'h', 'o', owner, 'f', print, 'e', e, 'n', int(n), 'a', '1', 'b', int(now), 'p', '')
  mark(ident)
  return {1}
end
if o ~= owner or s == 'd' then return {9} end
if s == 'i' then
  if hold ~= '' then
    keep(tonumber(kept), 's', 'h')
    redis.call('HDEL', key, 'w')
  elseif p == '' then
    redis.call('DEL', key)
  else
    -- What the attempt before left is as unknown as it was.
    redis.call('HSET', key, 's', p, 'o', nobody, 'l', int(now))
    redis.call('HDEL', key, 'w')
  end
  wake(channel)
end
mark(ident)
return {1}
