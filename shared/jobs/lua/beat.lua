-- A worker's sign of life. ARGV: worker, gone_after_ms, then its queues
local now, gone_after = now_ms(), tonumber(ARGV[2])
for index = 3, #ARGV do
  local key = workers_key(ARGV[index])
  redis.call('ZADD', key, now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - gone_after)
  redis.call('PEXPIRE', key, 10 * gone_after)
  redis.call('SADD', 'facet:queues', ARGV[index])
end
return now
