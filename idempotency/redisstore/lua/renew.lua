local owner, lease, kept, save, checkpoint, ident = unpack(ARGV)
if s ~= 'i' or sub(v, 7, 22) ~= owner then return {9} end
local saved = sub(v, 143)
if save == 'c' then saved = format('%09.0f', #checkpoint + 1) .. checkpoint end
write(tonumber(kept, 10), sub(v, 1, 94) .. format('%016.0f', now + tonumber(lease, 10)) .. sub(v, 111, 142) .. saved)
mark(ident, sub(v, 55, 70), number(71, 86))
return {1}
