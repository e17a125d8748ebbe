-- Prepended to every script of this folder: key names, Redis' own clock, and the transitions that several scripts make.
-- Scripts build key names from ids, so they need one Redis (with replicas or Sentinel as wished), not a Redis Cluster.

local EVENTS_KEPT = 1000 -- about; Redis trims whole blocks. The newest event, `done`, is never among the trimmed.
local OUTBOX_KEPT = 100000

local function job_key(id) return 'facet:job:' .. id end
local function events_key(id) return 'facet:job:' .. id .. ':events' end
local function waiting_key(queue) return 'facet:queue:' .. queue .. ':waiting' end
local function reached_key(queue) return 'facet:queue:' .. queue .. ':reached' end
local function workers_key(queue) return 'facet:queue:' .. queue .. ':workers' end
local function owner_key(owner) return 'facet:jobs:of:' .. owner end
local function unfinished_key(owner) return 'facet:unfinished:' .. owner end
local function kind_key(kind) return 'facet:kind:' .. kind .. ':waiting' end
local function stored_key(creation_key) return 'facet:once:' .. creation_key end

-- Milliseconds since the epoch by Redis' clock, so that the clocks of workers need not agree.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function emit(id, event, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', EVENTS_KEPT, '*', 'type', event, 'data', data)
end

-- Leave word for the webhooks of the job's owner, if there are any, in the same step as the change that it tells of.
-- The delivery worker of shared/webhooks reads it; only if none does for very long are the oldest lines trimmed.
local function outbox_append(id, event)
  local found = redis.call('HMGET', job_key(id), 'owner', 'kind', 'traceparent', 'tracestate')
  if redis.call('EXISTS', 'facet:webhooks:of:' .. found[1]) == 0 then return end
  redis.call('XADD', 'facet:outbox', 'MAXLEN', '~', OUTBOX_KEPT, '*', 'type', event, 'owner', found[1], 'job_id', id,
    'kind', found[2], 'at', now_ms(), 'traceparent', found[3] or '', 'tracestate', found[4] or '')
end

local function touch(id) redis.call('HINCRBY', job_key(id), 'version', 1) end

local function is_finished(status) return status ~= 'queued' and status ~= 'running' end

-- Fencing: only the newest attempt of a running job may write.
local function holds(id, token)
  local found = redis.call('HMGET', job_key(id), 'status', 'attempt')
  return found[1] == 'running' and found[2] == token
end

-- Exponentially weighted mean of run times in seconds, read for queue estimates.
local function learn_pace(field, seconds)
  local known = tonumber(redis.call('HGET', 'facet:pace', field))
  local mean = known and (0.7 * known + 0.3 * seconds) or seconds
  redis.call('HSET', 'facet:pace', field, string.format('%.4f', mean))
end

-- Put a job into its queue's order; `due` is when it expires if no worker starts it.
local function enqueue(id, queue, kind, queue_timeout_ms)
  local now = now_ms()
  redis.call('ZADD', waiting_key(queue), now, id)
  redis.call('SADD', kind_key(kind), id)
  redis.call('ZADD', 'facet:due', now + queue_timeout_ms, id)
end

-- Sets of ids and not counters: what was removed twice, or never added, leaves no wrong count behind.
local function dequeue(id, queue, kind)
  redis.call('ZREM', waiting_key(queue), id)
  redis.call('SREM', kind_key(kind), id)
end

local function requeue(id, queue_timeout_ms)
  local found = redis.call('HMGET', job_key(id), 'queue', 'kind')
  redis.call('HSET', job_key(id), 'status', 'queued', 'worker', '')
  redis.call('ZREM', 'facet:leases', id)
  enqueue(id, found[1], found[2], queue_timeout_ms)
  touch(id)
  emit(id, 'status', '{"status":"queued"}')
end

-- Keep a job that was given up where an operator finds it.
local function dead_letter(id, reason)
  redis.call('HSET', job_key(id), 'dead', reason)
  redis.call('ZADD', 'facet:dead', now_ms(), id)
end

-- The one way into a final status. `field` is 'result', 'problem' or '', `value` its JSON text.
local function finish(id, status, retention_ms, field, value)
  local now = now_ms()
  local found = redis.call('HMGET', job_key(id), 'queue', 'kind', 'attempt_at', 'owner')
  local queue, kind, began = found[1], found[2], tonumber(found[3])
  redis.call('HSET', job_key(id), 'status', status, 'finished_at', now, 'expires_at', now + retention_ms)
  if field ~= '' then redis.call('HSET', job_key(id), field, value) end
  dequeue(id, queue, kind)
  redis.call('ZREM', unfinished_key(found[4]), id)
  redis.call('ZREM', 'facet:leases', id)
  redis.call('ZADD', 'facet:due', now + retention_ms, id)
  redis.call('HINCRBY', 'facet:counts', kind .. ' ' .. status, 1)
  if status == 'succeeded' and began then
    learn_pace('kind:' .. kind, (now - began) / 1000)
    learn_pace('queue:' .. queue, (now - began) / 1000)
  end
  touch(id)
  emit(id, 'status', '{"status":"' .. status .. '"}')
  local problem = field == 'problem' and value or 'null'
  emit(id, 'done', '{"status":"' .. status .. '","problem":' .. problem .. '}')
  outbox_append(id, 'job.' .. status)
end
