-- Turn lines of the outbox into deliveries. ARGV: limit, kept, kept_ms
-- Each line is taken away in the step that makes its deliveries: whoever runs this, and however often, none is made
-- twice and none is lost. Returns how many lines were read.
local function asks_for(webhook, event)
  local found = redis.call('HMGET', webhook_key(webhook), 'enabled', 'events', 'kinds')
  if found[1] ~= '1' then return false end
  local function holds(list, value)
    for _, item in ipairs(cjson.decode(list)) do
      if item == value then return true end
    end
    return false
  end
  return holds(found[2], event.type) and (found[3] == '[]' or holds(found[3], event.kind))
end

local lines = redis.call('XRANGE', OUTBOX, '-', '+', 'COUNT', ARGV[1])
for _, line in ipairs(lines) do
  local event, fields = {}, line[2]
  for index = 1, #fields, 2 do event[fields[index]] = fields[index + 1] end
  if event.owner then
    for _, webhook in ipairs(redis.call('SMEMBERS', owner_key(event.owner))) do
      if asks_for(webhook, event) then deliver(webhook, tonumber(ARGV[2]), tonumber(ARGV[3]), fields) end
    end
  end
  redis.call('XDEL', OUTBOX, line[1])
end
return #lines
