-- One page of job ids, newest first. ARGV: owner ('' for all), cursor ('' or the id before it), limit, scan_limit,
-- status ('' for any), kind ('' for any). Returns the cursor of the next page ('' at the end), then the ids.
-- At most `scan_limit` records are looked at, so that a rare filter costs several calls and never a long pause of Redis.
local index = ARGV[1] == '' and 'facet:jobs' or owner_key(ARGV[1])
local position, limit, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local status, kind = ARGV[5], ARGV[6]
local page = { '' }
while budget > 0 do
  local below = position == '' and '+' or '(' .. position
  local ids = redis.call('ZREVRANGEBYLEX', index, below, '-', 'LIMIT', 0, math.min(200, budget))
  if #ids == 0 then return page end
  for _, id in ipairs(ids) do
    local found = redis.call('HMGET', job_key(id), 'status', 'kind')
    local wanted = found[1] and (status == '' or status == found[1]) and (kind == '' or kind == found[2])
    if wanted and #page > limit then
      page[1] = page[#page]
      return page
    end
    if wanted then page[#page + 1] = id end
    position = id
  end
  budget = budget - #ids
end
page[1] = position
return page
