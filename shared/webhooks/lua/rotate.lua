-- Give a webhook a new secret; the one before signs beside it for a while. ARGV: id, owner, secret, overlap_ms
-- Returns the time until which the one before signs, or 0 if the owner has no such webhook.
local key = webhook_key(ARGV[1])
local found = redis.call('HMGET', key, 'owner', 'secret')
if found[1] ~= ARGV[2] then return 0 end
local till = now_ms() + tonumber(ARGV[4])
redis.call('HSET', key, 'secret', ARGV[3], 'old_secret', found[2], 'old_secret_until', till)
return till
