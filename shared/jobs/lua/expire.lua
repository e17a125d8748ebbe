-- End what is due: jobs that waited too long for a worker expire, finished ones past their retention become
-- tombstones. ARGV: limit, retention_ms, tombstone_ms, problem of a job that waited too long
-- Returns how many were dealt with.
local ids = redis.call('ZRANGEBYSCORE', 'facet:due', '-inf', now_ms(), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  redis.call('ZREM', 'facet:due', id)
  local found = redis.call('HMGET', job_key(id), 'status', 'owner')
  if found[1] == 'queued' then
    finish(id, 'expired', tonumber(ARGV[2]), 'problem', ARGV[4])
  elseif found[1] and is_finished(found[1]) then
    redis.call('ZREM', 'facet:jobs', id)
    redis.call('ZREM', owner_key(found[2]), id)
    redis.call('ZREM', 'facet:dead', id)
    redis.call('DEL', job_key(id), events_key(id))
    redis.call('SET', 'facet:gone:' .. id, found[2], 'PX', ARGV[3])
  end
end
return #ids
