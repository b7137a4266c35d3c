local state, owner, print, epoch, given, attempt, lease, running, kept, prior, saved, checkpoint, result = unpack(ARGV)
given = tonumber(given)
if s then
  local outranked
  if (state == 'd') ~= (s == 'd') then
    outranked = state == 'd'
  else
    outranked = epoch > e or (epoch == e and (given > n or (given == n and state == 'h' and s == 'i')))
  end
  if not outranked then return {1} end
  redis.call('DEL', key)
end
keep(tonumber(kept), 's', state, 'o', owner, 'f', print, 'e', epoch, 'n', int(given), 'a', attempt,
  'l', int(now + tonumber(lease)), 'b', int(now - tonumber(running)), 'p', prior)
if saved == 'c' then redis.call('HSET', key, 'c', checkpoint) end
if state == 'd' then redis.call('HSET', key, 'r', result) end
return {1}
