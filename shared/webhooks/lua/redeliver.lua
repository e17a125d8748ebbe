-- Deliver once more, now, with the whole schedule of retries before it. ARGV: delivery, webhook, kept_ms
-- Returns 'unknown', 'disabled', 'delivering' (a delivery worker is at it at this moment) or 'due'.
local id, webhook = ARGV[1], ARGV[2]
local found = redis.call('HMGET', delivery_key(id), 'webhook', 'attempt')
if found[1] ~= webhook then return 'unknown' end
if redis.call('HGET', webhook_key(webhook), 'enabled') ~= '1' then return 'disabled' end
if redis.call('ZSCORE', leased_key(webhook), id) then return 'delivering' end
local now = now_ms()
redis.call('HSET', delivery_key(id), 'status', 'pending', 'base', found[2], 'next_at', now)
redis.call('HDEL', delivery_key(id), 'finished_at')
redis.call('PEXPIRE', delivery_key(id), ARGV[3])
if redis.call('EXISTS', attempts_key(id)) == 1 then redis.call('PEXPIRE', attempts_key(id), ARGV[3]) end
redis.call('ZADD', listed_key(webhook), 0, id)
redis.call('ZADD', waiting_key(webhook), now, id)
redis.call('ZADD', DUE, 'LT', now, webhook)
wake()
return 'due'
