-- Deliver a test event. ARGV: webhook, kept, kept_ms, then fields and values of the delivery
-- Returns the id of the delivery, or nil if the webhook is gone or disabled.
local webhook = ARGV[1]
if redis.call('HGET', webhook_key(webhook), 'enabled') ~= '1' then return nil end
local fields = { 'at', now_ms() }
for index = 4, #ARGV do fields[#fields + 1] = ARGV[index] end
local id = deliver(webhook, tonumber(ARGV[2]), tonumber(ARGV[3]), fields)
wake()
return id
