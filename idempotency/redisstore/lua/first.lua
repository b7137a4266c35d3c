-- The first claim of a key, which is what most claims are, without the cost of what the others need.
if not v and ARGV[4] == '0' and not KEYS[2] and not string.find(ARGV[5], 'e', 1, true) then
  local n = tonumber(clock[1], 10) * 1000000 + tonumber(clock[2], 10)
  v = 'hf1i00' .. ARGV[1] .. format('%016d00000001%013d%013d%013d000000000', n, now + ARGV[2], now, now + ARGV[3])
  redis.call('SET', key, v, 'PX', ARGV[3])
  return {1, v, now}
end
