local lost, kept, hold, ident = unpack(ARGV) -- lost: the held record that stands for one that was lost
if not v then
  if KEYS[2] then mark(ident, fence(sub(lost, 55, 70), sub(lost, 71, 86)), kept) end
  if hold == '' then return {7} end
  call('SET', key, lost, 'PX', kept)
  return {1}
end
if s == 'd' or sub(v, 7, 22) ~= sub(lost, 7, 22) then return {9} end
if KEYS[2] then mark(ident, fence(sub(v, 55, 70), sub(v, 71, 86)), kept) end
if s == 'i' then
  local prior, head = sub(v, 5, 5), sub(v, 23, 94)
  if hold ~= '' then
    call('SET', key, 'hf2h' .. prior .. '0' .. sub(v, 7, 94) .. before(0) .. before(kept + number(108, 120) - left) .. sub(v, 121), 'PX', kept)
  elseif prior == '0' then
    drop()
  else
    -- What the attempt before left is as unknown as it was.
    call('SET', key, 'hf2' .. prior .. prior .. '0' .. string.rep('\0', 16) .. head .. before(left) .. sub(v, 108), 'KEEPTTL')
  end
  if sub(v, 6, 6) == '1' then call('PUBLISH', key, '') end
end
return {1}
