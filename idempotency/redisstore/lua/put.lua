local state, prior, who, n, attempt, lease, running, kept, save, checkpoint, result = unpack(ARGV)
n = tonumber(n, 10)
local epoch = sub(who, 49)
if v then
  local outranked, e, mine = false, sub(v, 55, 70), number(71, 86)
  if (state == 'd') ~= (s == 'd') then
    outranked = state == 'd'
  else
    outranked = epoch > e or (epoch == e and n > mine)
    if epoch == e and n == mine then
      if state ~= s then
        outranked = state == 'h'
      else
        outranked = s ~= 'd' and sub(v, 7, 22) == sub(who, 1, 16) and lease + running > number(108, 120) - number(95, 107)
      end
    end
  end
  if not outranked then return {1} end
end
local saved = '000000000'
if save == 'c' then saved = format('%09d', #checkpoint + 1) .. checkpoint end
call('SET', key, 'hf2' .. state .. prior .. '0' .. who .. format('%016d%08d', n, tonumber(attempt, 10)) ..
  before(kept - lease) .. before(kept + running) .. saved .. result, 'PX', kept)
return {1}
