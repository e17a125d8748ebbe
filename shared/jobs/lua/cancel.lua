-- Ask for the end of a job. ARGV: id, retention_ms
-- Returns 'unknown', 'finished' (too late), 'cancelled' (it had not started) or 'cancelling' (at the next step).
local id = ARGV[1]
local status = redis.call('HGET', job_key(id), 'status')
if not status then return 'unknown' end
if is_finished(status) then return 'finished' end
if status == 'queued' then
  redis.call('HSET', job_key(id), 'cancel_requested', 1)
  finish(id, 'cancelled', tonumber(ARGV[2]), '', '')
  return 'cancelled'
end
if redis.call('HSET', job_key(id), 'cancel_requested', 1) == 1 then
  touch(id)
  emit(id, 'status', '{"status":"running","cancel_requested":true}')
end
return 'cancelling'
