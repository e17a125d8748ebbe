-- Give a running job back to its queue because its worker shuts down; this is no lost worker.
-- ARGV: id, token, queue_timeout_ms, retention_ms
-- Returns -1 when another attempt has taken over, 0 when the job was to be cancelled and now is, 1 when it is queued.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return -1 end
if redis.call('HEXISTS', job_key(id), 'cancel_requested') == 1 then
  finish(id, 'cancelled', tonumber(ARGV[4]), '', '')
  return 0
end
requeue(id, tonumber(ARGV[3]))
return 1
