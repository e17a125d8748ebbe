-- Whatever a running attempt writes on its way; each write also renews its lease.
-- ARGV: id, token, gone_after_ms, event type ('' for none), event data, then fields and values of the record
-- Returns -1 when another attempt has taken over, else 1 if the job is to be cancelled and 0 if not.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return -1 end
redis.call('ZADD', 'facet:leases', now_ms() + tonumber(ARGV[3]), id)
if #ARGV > 5 then
  redis.call('HSET', job_key(id), unpack(ARGV, 6))
  touch(id)
end
if ARGV[4] ~= '' then emit(id, ARGV[4], ARGV[5]) end
return redis.call('HEXISTS', job_key(id), 'cancel_requested')
