if not s then return {7} end
return reply(1)
