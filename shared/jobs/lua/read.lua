-- Records with what depends on other keys. ARGV: ids
-- Returns one flat list of fields and values for each id; an empty one where there is no record.
local records = {}
local now = now_ms()
for index, id in ipairs(ARGV) do
  local fields = redis.call('HGETALL', job_key(id))
  if #fields > 0 then
    local known = redis.call('HMGET', job_key(id), 'queue', 'kind', 'status')
    local function add(name, value)
      if value then
        fields[#fields + 1] = name
        fields[#fields + 1] = tostring(value)
      end
    end
    add('now', string.format('%d', now))
    if not is_finished(known[3]) then
      add('kind_pace_s', redis.call('HGET', 'facet:pace', 'kind:' .. known[2]))
      add('queue_pace_s', redis.call('HGET', 'facet:pace', 'queue:' .. known[1]))
    end
    if known[3] == 'queued' then
      add('queue_position', redis.call('ZRANK', waiting_key(known[1]), id))
      add('queue_workers', redis.call('ZCARD', workers_key(known[1])))
    end
  end
  records[index] = fields
end
return records
