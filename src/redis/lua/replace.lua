-- Makes the list exactly these items, unless it is of the same origin, begins at the same place and reaches further.
if #ARGV == ITEMS then return redis.call('DEL', LIST, HEAD) end
local list = sound()
local same = list and list[1] == EPOCH and list[2] == CONVERSATION and tonumber(list[3]) == first
if same and tonumber(list[4]) > last then return 0 end
begin()
return 1
