-- One tools/call of about 250 bytes, or what BODY names, sent over and over by wrk; every answer is compared with the one that EXPECT holds.
dofile(os.getenv("REPORT"))
local expected = io.open(os.getenv("EXPECT")):read("a")
wrk.method = "POST"
wrk.body = io.open(os.getenv("BODY")):read("a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")

function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end
