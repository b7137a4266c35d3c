local epoch, given = ARGV[1], tonumber(ARGV[2])
if s and s ~= 'd' and (e < epoch or (e == epoch and n <= given)) then redis.call('DEL', key) end
return {1}
