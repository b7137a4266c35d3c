-- The result of the owner, which is what most results are, without the cost of what the others need.
if s == 'i' and not KEYS[2] and sub(v, 7, 22) == sub(ARGV[1], 1, 16) and tonumber(sub(v, 71, 86), 10) then
  redis.call('SET', key, 'hf1d00' .. sub(v, 7, 120) .. format('%013d', now + ARGV[3]) .. '000000000' .. ARGV[4], 'PX', ARGV[3])
  if sub(v, 6, 6) == '1' then redis.call('PUBLISH', key, '') end
  return {1}
end
