-- The head and, after it, the items.
local list = sound()
if not list then return false end
list[6] = redis.call('LRANGE', LIST, 0, -1)
return list
