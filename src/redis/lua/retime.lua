-- Another expiry, which may be past. ARGV: epoch, conversation, next, expires_at, how many milliseconds that is away. A list that
-- has gone on since has its expiry already.
local list = sound()
if list and list[1] == ARGV[1] and list[2] == ARGV[2] and list[4] == ARGV[3] then
  redis.call('HSET', HEAD, 'expires_at', ARGV[4])
  redis.call('PEXPIRE', LIST, ARGV[5])
  redis.call('PEXPIRE', HEAD, ARGV[5])
  return 1
end
return 0
