-- Lease due deliveries to a delivery worker. ARGV: most of them, most of one webhook at once, lease_ms, attempts, attempt that
-- is noted of a delivery worker that was lost
-- Returns the milliseconds until something is due (-1: nothing is), then for each delivery its hash and its webhook's.
local budget, slots, lease, tries, lost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now = now_ms()

local function is_used_up(id)
  local found = redis.call('HMGET', delivery_key(id), 'attempt', 'base')
  return tonumber(found[1]) - tonumber(found[2]) >= tries
end

-- Deliveries whose delivery worker died are due again.
local function take_back(webhook)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', leased_key(webhook), '-inf', now)) do
    redis.call('ZREM', leased_key(webhook), id)
    if redis.call('EXISTS', delivery_key(id)) == 1 then
      note(id, lost)
      if is_used_up(id) or redis.call('HGET', webhook_key(webhook), 'enabled') ~= '1' then
        finish(id, 'failed')
      else
        redis.call('ZADD', waiting_key(webhook), now, id)
      end
    end
  end
end

local claimed = { -1 }
for _, webhook in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 100)) do
  if budget <= 0 then break end
  take_back(webhook)
  local free = math.min(slots - redis.call('ZCARD', leased_key(webhook)), budget)
  local ids = free > 0 and redis.call('ZRANGEBYSCORE', waiting_key(webhook), '-inf', now, 'LIMIT', 0, free) or {}
  local known = redis.call('HGETALL', webhook_key(webhook))
  for _, id in ipairs(ids) do
    if redis.call('EXISTS', delivery_key(id)) == 1 then
      redis.call('ZREM', waiting_key(webhook), id)
      redis.call('ZADD', leased_key(webhook), now + lease, id)
      redis.call('HINCRBY', delivery_key(id), 'attempt', 1)
      redis.call('HDEL', delivery_key(id), 'next_at')
      claimed[#claimed + 1] = { redis.call('HGETALL', delivery_key(id)), known }
      budget = budget - 1
    else
      forget(webhook, id)
    end
  end
  schedule(webhook, redis.call('ZCARD', leased_key(webhook)) >= slots)
end
local first = lowest(DUE)
if first then claimed[1] = math.max(first - now, 0) end
return claimed
