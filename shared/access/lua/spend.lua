-- Take from several quotas at once, or from none. Windows are fixed: one begins with the first request that counts.
-- ARGV: force (1: take even what is not there), then for each quota: key, limit, window_ms, amount
-- Returns whether it was granted, then for each quota: what remains, and milliseconds until its window ends.
local answer, granted = { 1 }, true
for index = 2, #ARGV, 4 do
  local used = tonumber(redis.call('GET', ARGV[index])) or 0
  if used + tonumber(ARGV[index + 3]) > tonumber(ARGV[index + 1]) then granted = false end
end
if ARGV[1] == '1' then granted = true end
for index = 2, #ARGV, 4 do
  local key, limit, window, amount = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2]), tonumber(ARGV[index + 3])
  local used = tonumber(redis.call('GET', key)) or 0
  if granted and amount > 0 then
    used = redis.call('INCRBY', key, amount)
    if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, window) end
  end
  local left = redis.call('PTTL', key)
  answer[#answer + 1] = math.max(0, limit - used)
  answer[#answer + 1] = left > 0 and left or window
end
answer[1] = granted and 1 or 0
return answer
