-- Waiting jobs whose message is gone: never published, taken by a worker that was killed before it claimed the job,
-- or lost with the last second before a crash of Redis. Seen by this: the queue is empty, or has moved on to messages
-- that were published later. A message too many does no harm, since claiming is atomic.
-- ARGV: queue, key of Celery's list, grace_ms, limit
-- Returns the ids to publish again.
local queue, grace = ARGV[1], tonumber(ARGV[3])
local now = now_ms()
local latest = now - grace
if redis.call('LLEN', ARGV[2]) > 0 then
  local reached = tonumber(redis.call('GET', reached_key(queue))) or 0
  latest = math.min(latest, reached - grace)
end
local ids = redis.call('ZRANGEBYSCORE', waiting_key(queue), '-inf', latest, 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do redis.call('ZADD', waiting_key(queue), now, id) end
return ids
