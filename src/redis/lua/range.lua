-- The head and, after it, the sequence of the first item and the items: from sequence ARGV[1] on, at most ARGV[2], and those after
-- ARGV[3] bytes are left out. Read by the dozen, because their length is not known before.
local list = sound()
if not list then return false end
local from, next = tonumber(list[3]), tonumber(list[4])
local first = math.min(math.max(tonumber(ARGV[1]), from), next)
local limit, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local items = {}
local at = first
while #items < limit and room > 0 and at < next do
  local count = math.min(12, limit - #items)
  for _, item in ipairs(redis.call('LRANGE', LIST, at - from, at - from + count - 1)) do
    if room <= 0 then break end
    items[#items + 1] = item
    room = room - #item
  end
  at = at + count
end
list[6] = string.format('%d', first)
list[7] = items
return list
