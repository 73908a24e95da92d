-- Shared by the scripts that write. ARGV: epoch, conversation, from, first, last (after the last item), expires_at, items.
-- Numbers are stored as they came, as text: Lua would write large ones with an exponent.
local EPOCH, CONVERSATION, FROM, FIRST, LAST, EXPIRES = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local from, first, last = tonumber(FROM), tonumber(FIRST), tonumber(LAST)
local ITEMS = 6
-- Lua's stack holds 8,000 values.
local STEP = 500

local function push(skipped)
  for i = ITEMS + 1 + skipped, #ARGV, STEP do
    redis.call('RPUSH', LIST, unpack(ARGV, i, math.min(i + STEP - 1, #ARGV)))
  end
end

local function expire()
  redis.call('PEXPIREAT', LIST, EXPIRES)
  redis.call('PEXPIREAT', HEAD, EXPIRES)
end

-- Exactly these items, whatever is there. A full server refuses only the first write of a script, and never a DEL: so
-- the first one here is a SET that is refused before anything is lost, and overwrites a key of any type.
local function begin()
  redis.call('SET', HEAD, '')
  redis.call('DEL', HEAD, LIST)
  push(0)
  redis.call('HSET', HEAD, 'epoch', EPOCH, 'conversation', CONVERSATION, 'from', FIRST, 'next', LAST, 'expires_at', EXPIRES)
  expire()
end
