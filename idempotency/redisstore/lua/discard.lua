local epoch, n = ARGV[1], tonumber(ARGV[2], 10)
if v and s ~= 'd' then
  local e = sub(v, 55, 70)
  if e < epoch or (e == epoch and number(71, 86) <= n) then drop() end
end
return {1}
