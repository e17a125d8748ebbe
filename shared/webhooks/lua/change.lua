-- Change a webhook. ARGV: id, owner, enabled ('' to leave it, '0', '1'), then fields and values
-- Returns 0 if the owner has no such webhook, else 1.
local id = ARGV[1]
if redis.call('HGET', webhook_key(id), 'owner') ~= ARGV[2] then return 0 end
if #ARGV > 3 then redis.call('HSET', webhook_key(id), unpack(ARGV, 4)) end
if ARGV[3] == '0' then
  disable(id, 'Its owner disabled it.')
elseif ARGV[3] == '1' then
  redis.call('HSET', webhook_key(id), 'enabled', 1)
  redis.call('HDEL', webhook_key(id), 'disabled_at', 'disabled_reason', 'failing_since')
end
return 1
