local owner, lease, kept, save, checkpoint, ident = unpack(ARGV)
if s ~= 'i' or o ~= owner then return {9} end
redis.call('HSET', key, 'l', int(now + tonumber(lease)))
if save == 'c' then redis.call('HSET', key, 'c', checkpoint) end
keep(tonumber(kept))
mark(ident)
return {1}
