-- Take a job from an attempt whose lease ran out: its worker was killed, hangs, or lost its connection.
-- ARGV: id, lost_limit, queue_timeout_ms, retention_ms, problem of too many lost workers, problem of the time limit,
-- retention_ms of dead letters
-- Returns the status that the job now has, or 'held' if the lease was renewed in the meantime.
local id = ARGV[1]
local now = now_ms()
local lease = tonumber(redis.call('ZSCORE', 'facet:leases', id))
local found = redis.call('HMGET', job_key(id), 'status', 'attempt_at', 'time_limit_s', 'cancel_requested')
if found[1] ~= 'running' then
  redis.call('ZREM', 'facet:leases', id)
  return found[1] or 'unknown'
end
if lease and lease > now then return 'held' end
local retention, dead_retention = tonumber(ARGV[4]), tonumber(ARGV[7])
local lost = redis.call('HINCRBY', job_key(id), 'lost', 1)
local status = 'queued'
if found[4] then
  status = 'cancelled'
  finish(id, status, retention, '', '')
elseif lost >= tonumber(ARGV[2]) then
  status = 'failed'
  finish(id, status, dead_retention, 'problem', ARGV[5])
  dead_letter(id, 'lost workers')
elseif now - tonumber(found[2]) > tonumber(found[3]) * 1000 then
  -- It ignored the soft limit and was killed by the hard one: another try would end the same way.
  status = 'failed'
  finish(id, status, dead_retention, 'problem', ARGV[6])
  dead_letter(id, 'time limit')
else
  requeue(id, tonumber(ARGV[3]))
end
return status
