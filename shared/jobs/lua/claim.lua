-- Start an attempt. ARGV: id, worker, gone_after_ms
-- Returns an outcome and the fencing token: 'claimed' and the number of the attempt, or one of 'unknown', 'finished'
-- (cancelled ones too) and 'held' (another attempt has the lease; if it dies, the sweeper queues the job again).
local id, worker, gone_after = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found = redis.call('HMGET', job_key(id), 'status', 'queue', 'kind')
local status, queue = found[1], found[2]
if not status then return { 'unknown', 0 } end
if status == 'running' then return { 'held', 0 } end
if is_finished(status) then return { 'finished', 0 } end
local now = now_ms()
local published = tonumber(redis.call('ZSCORE', waiting_key(queue), id)) or now
local reached = tonumber(redis.call('GET', reached_key(queue))) or 0
if published > reached then redis.call('SET', reached_key(queue), published) end
dequeue(id, queue, found[3])
redis.call('ZREM', 'facet:due', id)
redis.call('ZADD', 'facet:leases', now + gone_after, id)
local attempt = redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HSET', job_key(id), 'status', 'running', 'worker', worker, 'attempt_at', now)
redis.call('HSETNX', job_key(id), 'started_at', now)
redis.call('HDEL', job_key(id), 'step_s')
touch(id)
emit(id, 'status', '{"status":"running","attempt":' .. attempt .. '}')
if attempt == 1 then outbox_append(id, 'job.started') end
return { 'claimed', attempt }
