-- Lists marks of the bucket's hash from a cursor on: the next cursor, then ident, value, ident, value.
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', '100')
local marks = {page[1]}
for i = 1, #page[2], 2 do
  if page[2][i] ~= '#' and page[2][i] ~= '@' then
    marks[#marks + 1] = page[2][i]
    marks[#marks + 1] = page[2][i + 1]
  end
end
return marks
