local owner, lease, kept, save, checkpoint, ident = unpack(ARGV)
if s ~= 'i' or o ~= owner then return {9} end
if save == 'c' then redis.call('HSET', key, 'c', checkpoint) end
keep(tonumber(kept), 'l', int(now + tonumber(lease)))
mark(ident)
return {1}
