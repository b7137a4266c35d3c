local owner, lease, kept, save, checkpoint, ident = unpack(ARGV)
if s ~= 'i' or sub(v, 7, 22) ~= owner then return {9} end
local saved = sub(v, 121)
if save == 'c' then saved = format('%09d', #checkpoint + 1) .. checkpoint end
call('SET', key, sub(v, 1, 94) .. before(kept - lease) .. before(kept + number(108, 120) - left) .. saved, 'PX', kept)
if KEYS[2] then mark(ident, fence(sub(v, 55, 70), sub(v, 71, 86)), kept) end
return {1}
