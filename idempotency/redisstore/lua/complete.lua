local done, kept, ident = ARGV[2], ARGV[3], ARGV[5] -- done: the record that a first attempt leaves
local owner = sub(done, 7, 22)
if s == 'd' and sub(v, 7, 22) ~= owner then return {2, v, left} end
if v then
  local o = sub(v, 7, 22)
  if s ~= 'd' and o ~= owner and o ~= string.rep('\0', 16) then return {9, v, left} end
  done = sub(done, 1, 22) .. sub(v, 23, 94) .. sub(done, 95)
end
if s ~= 'd' then -- without a record nobody else owns the key, and the result is true
  call('SET', key, done, 'PX', kept)
  if v and sub(v, 6, 6) == '1' then call('PUBLISH', key, '') end
end
if KEYS[2] then mark(ident, fence(sub(done, 55, 70), sub(done, 71, 86)), kept) end
return {1}
