-- Record a new job, unless nobody would work on it.
-- ARGV: id, queue, owner, gone_after_ms, queue_timeout_ms, then the fields and values of the record
-- Returns 'created' or 'no worker'.
local id, queue, owner, gone_after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = now_ms()
if redis.call('ZCOUNT', workers_key(queue), now - gone_after, '+inf') == 0 then return 'no worker' end
redis.call('HSET', job_key(id), 'id', id, 'queue', queue, 'owner', owner, 'status', 'queued', 'attempt', 0,
  'lost', 0, 'version', 1, 'created_at', now, unpack(ARGV, 6))
redis.call('ZADD', 'facet:jobs', 0, id) -- equal scores: the order is that of the ids, which sort by time
redis.call('ZADD', owner_key(owner), 0, id)
redis.call('SADD', 'facet:queues', queue)
enqueue(id, queue, tonumber(ARGV[5]))
emit(id, 'status', '{"status":"queued"}')
return 'created'
