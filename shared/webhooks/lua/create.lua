-- Record a webhook. ARGV: id, owner, most of one owner, then fields and values
-- Returns 1, or 0 if the owner has as many as is allowed.
local id, owner = ARGV[1], ARGV[2]
if redis.call('SCARD', owner_key(owner)) >= tonumber(ARGV[3]) then return 0 end
redis.call('SADD', owner_key(owner), id)
redis.call('HSET', webhook_key(id), 'id', id, 'owner', owner, 'enabled', 1, 'created_at', now_ms(), unpack(ARGV, 4))
return 1
