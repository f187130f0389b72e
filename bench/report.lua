-- What a turn of wrk came to, as one line: whoever says `wrong` counts the answers that were not the awaited ones.
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() wrong = 0 end
function done(summary, latency)
  local total = 0
  for _, thread in ipairs(threads) do total = total + thread:get("wrong") end
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50":%.1f,"p99":%.1f,"wrong":%d,"broken":%d}\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), total, errors.connect + errors.read + errors.write + errors.timeout))
end
