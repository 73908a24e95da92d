-- Shared by every script. KEYS: the list, its head. Damage of any kind, and a list without its head or a head without
-- its list (a server short of memory evicts keys one by one), count as no list: the caller then rebuilds it.
local LIST, HEAD = KEYS[1], KEYS[2]

-- epoch, conversation, from, next, expires_at of a sound list, as text; nil otherwise.
local function sound()
  local head = redis.pcall('HMGET', HEAD, 'epoch', 'conversation', 'from', 'next', 'expires_at')
  if head.err or not (head[1] and head[2] and head[3] and head[4] and head[5]) then return nil end
  local first, last = tonumber(head[3]), tonumber(head[4])
  local length = redis.pcall('LLEN', LIST)
  if not first or not last or type(length) ~= 'number' or length ~= last - first then return nil end
  return head
end
