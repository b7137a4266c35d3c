-- The first claim of a key, which is what most claims are: one command and, for the fence, the time at which it expires.
local v = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'GET', 'PX', ARGV[2])
if not v then return redis.call('PEXPIRETIME', KEYS[1]) end
