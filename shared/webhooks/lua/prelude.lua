-- Prepended to every script of this folder: key names, Redis' own clock, and the steps that several scripts make.
--
-- facet:webhooks:of:{owner}        set of ids; its mere existence makes jobs write to the outbox
-- facet:webhook:{id}               hash
-- facet:webhook:{id}:deliveries    all that are kept, in the order of their ids, which is that of their time
-- facet:webhook:{id}:waiting       deliveries by the time when they are due
-- facet:webhook:{id}:leased        deliveries that a delivery worker works on, by the end of its lease
-- facet:webhooks:due               webhooks by the time when a delivery worker should look at them
-- facet:delivery:{id}              hash, and :attempts the list of what was tried

local ATTEMPTS_KEPT = 50
local OUTBOX_KEPT = 100000 -- as in shared/jobs/lua
local OUTBOX = 'facet:outbox'
local DUE = 'facet:webhooks:due'

local function webhook_key(id) return 'facet:webhook:' .. id end
local function listed_key(id) return 'facet:webhook:' .. id .. ':deliveries' end
local function waiting_key(id) return 'facet:webhook:' .. id .. ':waiting' end
local function leased_key(id) return 'facet:webhook:' .. id .. ':leased' end
local function owner_key(owner) return 'facet:webhooks:of:' .. owner end
local function delivery_key(id) return 'facet:delivery:' .. id end
local function attempts_key(id) return 'facet:delivery:' .. id .. ':attempts' end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function lowest(key)
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- When a delivery worker is to look at a webhook: at its next due delivery or end of a lease; if its slots are full, at the
-- latter. Settling looks at it again anyway.
local function schedule(webhook, is_full)
  local lease, due = lowest(leased_key(webhook)), lowest(waiting_key(webhook))
  local at = lease
  if due and not is_full then at = math.min(due, lease or due) end
  if at then
    redis.call('ZADD', DUE, math.max(at, now_ms()), webhook)
  else
    redis.call('ZREM', DUE, webhook)
  end
end

local function forget(webhook, id)
  redis.call('DEL', delivery_key(id), attempts_key(id))
  for _, key in ipairs({ listed_key(webhook), waiting_key(webhook), leased_key(webhook) }) do
    redis.call('ZREM', key, id)
  end
end

-- Keep the newest `kept` deliveries, and those no older than `kept_ms`.
local function trim(webhook, kept, kept_ms)
  local listed = listed_key(webhook)
  local excess = redis.call('ZCARD', listed) - kept
  if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', listed, 0, excess - 1)) do forget(webhook, id) end
  end
  local oldest = string.format('(msg_%012x', now_ms() - kept_ms)
  for _, id in ipairs(redis.call('ZRANGEBYLEX', listed, '-', oldest)) do forget(webhook, id) end
end

-- A new delivery, due at once. Ids hold the time and a number that only grows, so that they sort and never repeat.
local function deliver(webhook, kept, kept_ms, fields)
  local now = now_ms()
  local id = string.format('msg_%012x%010x', now, redis.call('INCR', 'facet:webhooks:serial'))
  redis.call('HSET', delivery_key(id), 'id', id, 'webhook', webhook, 'status', 'pending', 'attempt', 0, 'base', 0,
    'created_at', now, 'next_at', now, unpack(fields))
  redis.call('PEXPIRE', delivery_key(id), kept_ms)
  redis.call('ZADD', listed_key(webhook), 0, id)
  redis.call('ZADD', waiting_key(webhook), now, id)
  redis.call('ZADD', DUE, 'LT', now, webhook)
  trim(webhook, kept, kept_ms)
  return id
end

-- Make delivery workers look now: they wait for lines of the outbox.
local function wake() redis.call('XADD', OUTBOX, 'MAXLEN', '~', OUTBOX_KEPT, '*', 'type', 'wake') end

local function note(id, attempt)
  local key = attempts_key(id)
  redis.call('RPUSH', key, attempt)
  redis.call('LTRIM', key, -ATTEMPTS_KEPT, -1)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', delivery_key(id)), 1))
end

local function finish(id, status)
  redis.call('HSET', delivery_key(id), 'status', status, 'finished_at', now_ms())
  redis.call('HDEL', delivery_key(id), 'next_at')
end

-- No more deliveries to a webhook; what waits is given up and can be redelivered once it is enabled again.
local function disable(webhook, reason)
  redis.call('HSET', webhook_key(webhook), 'enabled', 0, 'disabled_at', now_ms(), 'disabled_reason', reason)
  for _, id in ipairs(redis.call('ZRANGE', waiting_key(webhook), 0, -1)) do finish(id, 'failed') end
  redis.call('DEL', waiting_key(webhook))
  schedule(webhook, false)
end
