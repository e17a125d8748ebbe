-- Record a new job, unless it was recorded before, nobody would work on it, or there are too many already.
-- ARGV: id, queue, owner, gone_after_ms, queue_timeout_ms, creation key ('' for none), how long the key is kept in ms,
-- most unfinished jobs of the owner ('' for any number), kind, most waiting jobs of the kind, then the fields and
-- values of the record
-- Returns an outcome and what it is about:
-- 'created' and the id; 'existing' and the id of the job that the creation key made before;
-- 'no worker'; 'too many' and the id of the owner's oldest unfinished job;
-- 'full', jobs of the kind that wait, live workers, and the measured pace of the kind and of the queue in s or ''.
local id, queue, owner, gone_after = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local creation_key, job_limit, kind, queue_limit = ARGV[6], tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local now = now_ms()
if creation_key ~= '' then
  local existing = redis.call('GET', stored_key(creation_key))
  if existing then return { 'existing', existing } end
end
-- A client whose answer was lost asks again with the same id.
if redis.call('EXISTS', job_key(id)) == 1 then return { 'existing', id } end
local workers = redis.call('ZCOUNT', workers_key(queue), now - gone_after, '+inf')
if workers == 0 then return { 'no worker', '' } end
if job_limit and redis.call('ZCARD', unfinished_key(owner)) >= job_limit then
  return { 'too many', redis.call('ZRANGE', unfinished_key(owner), 0, 0)[1] or '' }
end
local waiting = redis.call('SCARD', kind_key(kind))
if waiting >= queue_limit then
  local pace = redis.call('HMGET', 'facet:pace', 'kind:' .. kind, 'queue:' .. queue)
  return { 'full', tostring(waiting), tostring(workers), pace[1] or '', pace[2] or '' }
end
redis.call('HSET', job_key(id), 'id', id, 'queue', queue, 'owner', owner, 'kind', kind, 'status', 'queued',
  'attempt', 0, 'lost', 0, 'version', 1, 'created_at', now, unpack(ARGV, 11))
if creation_key ~= '' then redis.call('SET', stored_key(creation_key), id, 'PX', ARGV[7]) end
redis.call('ZADD', 'facet:jobs', 0, id) -- equal scores: the order is that of the ids, which sort by time
redis.call('ZADD', owner_key(owner), 0, id)
redis.call('ZADD', unfinished_key(owner), 0, id)
redis.call('SADD', 'facet:queues', queue)
enqueue(id, queue, kind, tonumber(ARGV[5]))
emit(id, 'status', '{"status":"queued"}')
return { 'created', id }
