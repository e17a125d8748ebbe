-- Put a job that ended without success back into its queue: a further attempt of the same job, which resumes from the
-- last checkpoint. The number of the attempt grows on, so that no attempt from before can write.
-- ARGV: id, gone_after_ms, queue_timeout_ms, most unfinished jobs of the owner ('' for any number)
-- Returns an outcome and what it is about, as create.lua does: 'queued', 'unknown', 'unfinished', 'succeeded',
-- 'no worker' or 'too many'.
local id, job_limit = ARGV[1], tonumber(ARGV[4])
local found = redis.call('HMGET', job_key(id), 'status', 'queue', 'kind', 'owner')
local status, queue, kind, owner = found[1], found[2], found[3], found[4]
if not status then return { 'unknown', '' } end
if not is_finished(status) then return { 'unfinished', '' } end
if status == 'succeeded' then return { 'succeeded', '' } end
if redis.call('ZCOUNT', workers_key(queue), now_ms() - tonumber(ARGV[2]), '+inf') == 0 then
  return { 'no worker', queue }
end
if job_limit and redis.call('ZCARD', unfinished_key(owner)) >= job_limit then
  return { 'too many', redis.call('ZRANGE', unfinished_key(owner), 0, 0)[1] or '' }
end
-- Without `done` the stream is open again; who has read it goes on behind its id.
local newest = redis.call('XREVRANGE', events_key(id), '+', '-', 'COUNT', 1)[1]
if newest and newest[2][2] == 'done' then redis.call('XDEL', events_key(id), newest[1]) end
redis.call('HDEL', job_key(id), 'problem', 'result', 'finished_at', 'expires_at', 'cancel_requested', 'dead')
redis.call('HSET', job_key(id), 'lost', 0)
redis.call('ZREM', 'facet:dead', id)
redis.call('ZADD', unfinished_key(owner), 0, id)
requeue(id, tonumber(ARGV[3]))
return { 'queued', queue }
