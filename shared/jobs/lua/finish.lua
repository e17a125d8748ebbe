-- End a running attempt. Result and status are written together: there is no moment between the two.
-- ARGV: id, token, status, retention_ms, field ('result', 'problem' or ''), its JSON text
-- Returns -1 when another attempt has taken over, else 1.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return -1 end
finish(id, ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6])
return 1
