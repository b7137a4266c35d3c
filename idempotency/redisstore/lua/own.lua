-- The result of a first attempt that nobody waits for, which is what most results are.
if redis.call('GETRANGE', KEYS[1], '0', '21') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  if KEYS[2] then mark(ARGV[5], ARGV[4], ARGV[3]) end
  return 1
end
local v = redis.call('GET', KEYS[1])
