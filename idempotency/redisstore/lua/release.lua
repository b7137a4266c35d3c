local owner, print, epoch, n, hold, kept, channel, ident = unpack(ARGV)
n, kept = tonumber(n, 10), tonumber(kept, 10)
if not v then
  mark(ident, epoch, n)
  if hold == '' then return {7} end
  -- The record is lost and the outcome unknown: remember that it is.
  write(kept, 'hf1h00' .. owner .. print .. epoch .. format('%016.0f%08.0f%016.0f%016.0f%016.0f', n, 1, now, now, 0) .. '000000000')
  return {1}
end
if s == 'd' or sub(v, 7, 22) ~= owner then return {9} end
local fence, prior, wait = number(71, 86), sub(v, 5, 5), sub(v, 6, 6) == '1'
mark(ident, sub(v, 55, 70), fence)
if s == 'i' then
  if hold ~= '' then
    write(kept, 'hf1h' .. prior .. '0' .. sub(v, 7))
  elseif prior == '0' then
    redis.call('DEL', key)
  else
    -- What the attempt before left is as unknown as it was.
    v = 'hf1' .. prior .. prior .. '0' .. string.rep('\0', 16) .. sub(v, 23, 94) .. format('%016.0f', now) .. sub(v, 111)
    redis.call('SET', key, v, 'KEEPTTL')
  end
  if wait then redis.call('PUBLISH', channel, '') end
end
return {1}
