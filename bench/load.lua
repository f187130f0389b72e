-- One tools/call of about 250 bytes, or what BODY names, sent over and over by wrk; every answer is compared with the one that EXPECT holds.
local expected = io.open(os.getenv("EXPECT")):read("a")
wrk.method = "POST"
wrk.body = io.open(os.getenv("BODY")):read("a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")

local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() wrong = 0 end
function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end
function done(summary, latency)
  local total = 0
  for _, thread in ipairs(threads) do total = total + thread:get("wrong") end
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50":%.1f,"p99":%.1f,"wrong":%d,"broken":%d}\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), total, errors.connect + errors.read + errors.write + errors.timeout))
end
