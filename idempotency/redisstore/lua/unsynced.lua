-- Lists up to ARGV[1] marks of the bucket's hash: ident, value, ident, value.
local limit, cursor, marks = tonumber(ARGV[1]), '0', {}
repeat
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 100)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    if page[2][i] ~= '#' and #marks < 2 * limit then
      marks[#marks + 1] = page[2][i]
      marks[#marks + 1] = page[2][i + 1]
    end
  end
until cursor == '0' or #marks >= 2 * limit
return marks
