-- load.lua with a proof of its own in every request: PROOFS holds one a line. Each is accepted once, so that running out of them shows as wrong answers.
dofile(os.getenv("REPORT"))
local expected = io.open(os.getenv("EXPECT")):read("a")
local requests, sent = {}, 0

function init()
  wrong = 0
  local body = io.open(os.getenv("BODY")):read("a")
  local headers = {
    ["Content-Type"] = "application/json",
    ["Accept"] = "application/json, text/event-stream",
    ["MCP-Protocol-Version"] = "2025-11-25",
    ["Authorization"] = "DPoP " .. os.getenv("TOKEN"),
  }
  for proof in io.lines(os.getenv("PROOFS")) do
    headers["DPoP"] = proof
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  sent = math.min(sent + 1, #requests)
  return requests[sent]
end

function response(status, headers, body)
  if status ~= 200 or body ~= expected then wrong = wrong + 1 end
end
