-- One page of deliveries, newest first. ARGV: webhook, cursor ('' or the id before it), limit, status ('' for any)
-- Returns the cursor of the next page ('' at the end), then a hash for each. Retention bounds what is looked at.
local index, below = listed_key(ARGV[1]), ARGV[2] == '' and '+' or '(' .. ARGV[2]
local limit, status = tonumber(ARGV[3]), ARGV[4]
local page = { '' }
for _, id in ipairs(redis.call('ZREVRANGEBYLEX', index, below, '-')) do
  local found = redis.call('HGET', delivery_key(id), 'status')
  if found and (status == '' or found == status) then
    if #page > limit then
      page[1] = redis.call('HGET', page[#page], 'id')
      break
    end
    page[#page + 1] = delivery_key(id)
  end
end
for position = 2, #page do page[position] = redis.call('HGETALL', page[position]) end
return page
