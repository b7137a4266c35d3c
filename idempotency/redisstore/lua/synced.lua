-- Clears the mark of ARGV[1] if it is still the one with count ARGV[2].
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value and string.match(value, '^%d+') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return {1}
