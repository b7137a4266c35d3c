-- Clears the mark of ARGV[1] if it is still the one with count ARGV[2] or, with count 0, one of fence ARGV[3].
local value = redis.call('HGET', KEYS[1], ARGV[1])
local count, fence = string.match(value or '', '^(%d+) (%x+) %d+$')
if count and (count == ARGV[2] or ARGV[2] == '0' and fence == ARGV[3]) then redis.call('HDEL', KEYS[1], ARGV[1]) end
return {1}
