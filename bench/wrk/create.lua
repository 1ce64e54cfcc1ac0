-- Creates records, each with an Idempotency-Key of its own.
-- Arguments: path, API key, a name that no other run has, body in which UNIQUE stands for a text of its own.
local head, name, before, after
local count = 0

function init(args)
  name = args[3]
  before, after = args[4]:match("^(.*)UNIQUE(.*)$")
  head = "POST " .. args[1] .. " HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port .. "\r\nAuthorization: Bearer " .. args[2]
    .. "\r\nContent-Type: application/json\r\nIdempotency-Key: "
end

function request()
  count = count + 1
  local unique = name .. "-" .. count
  local body = before .. unique .. after
  return head .. unique .. "-0123456789abcdef\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end
