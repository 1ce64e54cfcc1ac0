-- Asks for a path with each line of a file in turn, with an If-None-Match where one is given.
-- Arguments: path in which LINE stands for the line, file, If-None-Match or nothing, and headers as "Name: value".
local requests = {}
local at = 0

function init(args)
  local headers = {}
  if args[3] and args[3] ~= "" then headers["If-None-Match"] = args[3] end
  for i = 4, #args do
    local name, value = args[i]:match("^(.-): (.*)$")
    headers[name] = value
  end
  for line in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format("GET", (args[1]:gsub("LINE", line)), headers)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
