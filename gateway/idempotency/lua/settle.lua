-- What the holder of a claim may do to it. ARGV: key, token, 'renew' | 'finish' | 'release', lease_ms, then fields
-- Returns 1, or 0 where another request holds the key by now.
local key = ARGV[1]
local found = redis.call('HMGET', key, 'state', 'token')
if found[1] ~= 'running' or found[2] ~= ARGV[2] then return 0 end
if ARGV[3] == 'release' then
  redis.call('DEL', key)
elseif ARGV[3] == 'renew' then
  local now = redis.call('TIME')
  redis.call('HSET', key, 'lease_until', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[4]))
else
  redis.call('HSET', key, 'state', 'done', unpack(ARGV, 5))
end
return 1
