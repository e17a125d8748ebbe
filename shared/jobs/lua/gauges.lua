-- What a scrape asks of each queue. ARGV: gone_after_ms
-- Returns for each queue: name, jobs waiting, age of the oldest in ms, workers alive.
local now = now_ms()
local rows = {}
for _, queue in ipairs(redis.call('SMEMBERS', 'facet:queues')) do
  local oldest = redis.call('ZRANGE', waiting_key(queue), 0, 0)[1]
  local created = oldest and tonumber(redis.call('HGET', job_key(oldest), 'created_at')) or now
  local workers = redis.call('ZCOUNT', workers_key(queue), now - tonumber(ARGV[1]), '+inf')
  rows[#rows + 1] = { queue, redis.call('ZCARD', waiting_key(queue)), now - created, workers }
end
return rows
