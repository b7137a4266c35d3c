local owner, print, lease, kept, epoch, given, flags, ident = unpack(ARGV)
lease, kept, given = tonumber(lease), tonumber(kept), tonumber(given)
local function flag(v) return string.find(flags, v, 1, true) end
local last = 0
if s then
  if f ~= print then return reply(3) end
  if s == 'd' then return reply(2) end
  if s == 'i' and o == owner then
    l = now + lease
    redis.call('HSET', key, 'l', int(l))
    mark(ident)
    return reply(1)
  end
  if s == 'i' and l > now and epoch <= e then
    if flag('w') and not w then redis.call('HSET', key, 'w', '1') end
    return reply(4)
  end
  if s == 'i' and not flag('a') then return reply(5) end
  if s == 'h' and not flag('h') then return reply(6) end
  if epoch < e then return reply(8) end
  p, a, last = s, a + 1, n
  if not (given > 0 and (epoch > e or given > n)) then given = 0 end
else
  if flag('e') then return {7} end
  p, a, c, r = '', 1, false, false
end
if given == 0 then given = math.max(last + 1, now) end
s, o, f, e, n, l, b = 'i', owner, print, epoch, given, now + lease, now
keep(kept, 's', s, 'o', o, 'f', f, 'e', e, 'n', int(n), 'a', int(a), 'l', int(l), 'b', int(b), 'p', p)
mark(ident)
return reply(1)
