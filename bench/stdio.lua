-- tools/call under ids of their own, sent over and over by wrk; an answer must be one of those that are awaited, and say what was asked for under its id.
dofile(os.getenv("REPORT"))
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
local session = os.getenv("SESSION")
if session ~= "" then wrk.headers["Mcp-Session-Id"] = session end

local body = '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"message":"%d is the number; the quick brown fox jumps over the lazy dog and back again, over and over, until the body has about two hundred and fifty bytes in all."}}}'
local base = tonumber(os.getenv("BASE"))
local awaited = {}
local sent = 0

function request()
  sent = sent + 1
  awaited[base + sent] = true
  return wrk.format(nil, nil, nil, string.format(body, base + sent, base + sent))
end
function response(status, headers, text)
  local id = tonumber(string.match(text, '"id":(%d+)'))
  local said = tonumber(string.match(text, '"text":"Echo: (%d+) '))
  if status ~= 200 or id == nil or id ~= said or not awaited[id] then wrong = wrong + 1 else awaited[id] = nil end
end
