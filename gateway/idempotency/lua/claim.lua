-- Take a key for a request, or say what became of the one that has it.
-- ARGV: key, fingerprint, token, lease_ms, retention_ms
-- Returns an outcome ('claimed', 'other', 'running' or 'done') and milliseconds: until the key is forgotten, and, where
-- a request is running, until it counts as lost.
local key, now = ARGV[1], redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local found = redis.call('HMGET', key, 'fingerprint', 'state', 'lease_until')
local left = redis.call('PTTL', key)
if not found[1] then
  redis.call('HSET', key, 'fingerprint', ARGV[2])
  redis.call('PEXPIRE', key, ARGV[5])
  left = tonumber(ARGV[5])
elseif found[1] ~= ARGV[2] then
  return { 'other', left, 0 }
elseif found[2] == 'done' then
  return { 'done', left, 0 }
elseif tonumber(found[3]) > now then
  return { 'running', left, tonumber(found[3]) - now }
end
redis.call('HSET', key, 'state', 'running', 'token', ARGV[3], 'lease_until', now + tonumber(ARGV[4]))
return { 'claimed', left, 0 }
