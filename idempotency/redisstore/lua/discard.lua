local epoch, n = ARGV[1], tonumber(ARGV[2], 10)
if v and s ~= 'd' then
  local e, last = sub(v, 55, 70), number(71, 86)
  if e < epoch or (e == epoch and last and last <= n) then redis.call('DEL', key) end
end
return {1}
