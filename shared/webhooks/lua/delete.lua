-- Forget a webhook with all its deliveries. ARGV: id, owner
-- Returns 0 if the owner has no such webhook, else 1.
local id = ARGV[1]
if redis.call('HGET', webhook_key(id), 'owner') ~= ARGV[2] then return 0 end
for _, delivery in ipairs(redis.call('ZRANGE', listed_key(id), 0, -1)) do
  redis.call('DEL', delivery_key(delivery), attempts_key(delivery))
end
redis.call('DEL', webhook_key(id), listed_key(id), waiting_key(id), leased_key(id))
redis.call('ZREM', DUE, id)
redis.call('SREM', owner_key(ARGV[2]), id)
return 1
