-- Posts the file that WRK_BODY names; prints what was counted as one line of JSON, latencies in microseconds.
local file = assert(io.open(os.getenv("WRK_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'COUNTED {"duration": %d, "answers": %d, "p50": %d, "p95": %d, "p99": %d, "status": %d, "socket": %d, "timeout": %d}\n',
    summary.duration, summary.requests, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
