-- Notes in KEYS[2] that the peer has missed a write of ident under a fence: a count, the fence, and the second from which on the note is worth
-- nothing, when what the peer may have of the key has expired too; a minute later, for writes that arrive late.
local function mark(ident, fence, kept)
  local count, now = redis.call('HINCRBY', KEYS[2], '#', '1'), tonumber(redis.call('TIME')[1], 10)
  redis.call('HSET', KEYS[2], ident, string.format('%d %s %d', count, fence, now + math.ceil(kept / 1000) + 60))
  if count % 64 > 0 then return end
  -- As many are looked at as have come, and as many again: what is worth nothing is about half of all notes at most.
  local page = redis.call('HSCAN', KEYS[2], redis.call('HGET', KEYS[2], '@') or '0', 'COUNT', '128')
  for i = 1, #page[2], 2 do
    local ends = string.match(page[2][i + 1], '^%d+ %x+ (%d+)$')
    if ends and tonumber(ends, 10) < now then redis.call('HDEL', KEYS[2], page[2][i]) end
  end
  redis.call('HSET', KEYS[2], '@', page[1])
end
