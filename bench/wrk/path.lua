-- Asks for one path. Arguments: the path.
local text

function init(args)
  text = wrk.format("GET", args[1])
end

function request()
  return text
end
