-- One append. The order of the writes matters on a full server: see begin().
local STORED, ALREADY_THERE, GAP = 0, 1, 2
local list = sound()
if list and list[1] == EPOCH and list[2] == CONVERSATION then
  local old_from, old_next = tonumber(list[3]), tonumber(list[4])
  -- Late: the list has gone on since, and so has its expiry.
  if last < old_next then return ALREADY_THERE end
  if first <= old_next and from >= old_from then
    push(old_next - first)
    local new_from = from <= last and FROM or LAST
    redis.call('HSET', HEAD, 'from', new_from, 'next', LAST, 'expires_at', EXPIRES)
    local dropped = tonumber(new_from) - old_from
    if dropped > 0 then redis.call('LTRIM', LIST, dropped, -1) end
    expire()
    return last > old_next and STORED or ALREADY_THERE
  end
end
-- Whatever the list lacks, an append that begins a window brings all of it.
if first == from and #ARGV > ITEMS then
  begin()
  return STORED
end
return GAP
