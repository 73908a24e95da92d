-- Shared by the scripts that write. ARGV: epoch, conversation, from, first, last (after the last item), expires_at, how many
-- milliseconds that is away, items. The node's clock and this server's may differ: only the span holds on both.
-- Numbers are stored as they came, as text: Lua would write large ones with an exponent.
local EPOCH, CONVERSATION, FROM, FIRST, LAST, EXPIRES, SPAN = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local from, first, last = tonumber(FROM), tonumber(FIRST), tonumber(LAST)
local ITEMS = 7
-- Lua's stack holds 8,000 values.
local STEP = 500

local function push(skipped)
  for i = ITEMS + 1 + skipped, #ARGV, STEP do
    redis.call('RPUSH', LIST, unpack(ARGV, i, math.min(i + STEP - 1, #ARGV)))
  end
end

local function expire()
  redis.call('PEXPIRE', LIST, SPAN)
  redis.call('PEXPIRE', HEAD, SPAN)
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
