-- Write down how an attempt ended. ARGV: delivery, token (number of the attempt), outcome, delay_ms, attempt as JSON,
-- disable_after_ms, reason of that
-- Outcomes: 'delivered', 'retry' after the delay, 'failed' for good, 'gone' (no more, by the receiver's own word)
-- Returns 'settled', 'disabled' if the webhook now is, or 'superseded' if another delivery worker has taken over.
local id, outcome = ARGV[1], ARGV[3]
local found = redis.call('HMGET', delivery_key(id), 'webhook', 'attempt')
local webhook = found[1]
if found[2] ~= ARGV[2] or not redis.call('ZSCORE', leased_key(webhook), id) then return 'superseded' end
local now = now_ms()
redis.call('ZREM', leased_key(webhook), id)
note(id, ARGV[5])
redis.call('HINCRBY', 'facet:webhooks:counts', outcome, 1)
local is_enabled = redis.call('HGET', webhook_key(webhook), 'enabled') == '1'
if outcome == 'delivered' then
  finish(id, 'delivered')
  redis.call('HDEL', webhook_key(webhook), 'failing_since')
  schedule(webhook, false)
  return 'settled'
end
redis.call('HSETNX', webhook_key(webhook), 'failing_since', now)
if outcome == 'retry' and is_enabled then
  redis.call('ZADD', waiting_key(webhook), now + tonumber(ARGV[4]), id)
  redis.call('HSET', delivery_key(id), 'next_at', now + tonumber(ARGV[4]))
else
  finish(id, 'failed')
end
local failing_ms = now - tonumber(redis.call('HGET', webhook_key(webhook), 'failing_since'))
if is_enabled and (outcome == 'gone' or failing_ms >= tonumber(ARGV[6])) then
  disable(webhook, outcome == 'gone' and 'The receiver answered 410 Gone.' or ARGV[7])
  return 'disabled'
end
schedule(webhook, false)
return 'settled'
