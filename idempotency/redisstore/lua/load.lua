if not v then return {7} end
return {1, v, left}
