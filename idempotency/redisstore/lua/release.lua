local who, n, hold, kept, ident = unpack(ARGV)
local epoch = sub(who, 49)
if not v then
  if KEYS[2] then mark(ident, epoch, n) end
  if hold == '' then return {7} end
  -- The record is lost and the outcome unknown: remember that it is.
  redis.call('SET', key, 'hf1h00' .. who ..
    format('%016d%08d%013d%013d%013d', tonumber(n, 10), 1, now, now, now + kept) .. '000000000', 'PX', kept)
  return {1}
end
if s == 'd' or sub(v, 7, 22) ~= sub(who, 1, 16) then return {9} end
if KEYS[2] then mark(ident, sub(v, 55, 70), number(71, 86)) end
if s == 'i' then
  local prior = sub(v, 5, 5)
  if hold ~= '' then
    redis.call('SET', key, 'hf1h' .. prior .. '0' .. sub(v, 7, 120) .. format('%013d', now + kept) .. sub(v, 134), 'PX', kept)
  elseif prior == '0' then
    redis.call('DEL', key)
  else
    -- What the attempt before left is as unknown as it was.
    redis.call('SET', key, 'hf1' .. prior .. prior .. '0' .. string.rep('\0', 16) .. sub(v, 23, 94) .. format('%013d', now) .. sub(v, 108), 'KEEPTTL')
  end
  if sub(v, 6, 6) == '1' then redis.call('PUBLISH', key, '') end
end
return {1}
