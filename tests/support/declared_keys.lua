-- Put in front of a script: its commands may access only the keys that it was called with.
local redis = (function()
  local real, declared = redis, {}
  for _, key in ipairs(KEYS) do declared[key] = true end
  local function check(...)
    local keys = real.pcall('COMMAND', 'GETKEYS', ...)
    if keys.err then return end
    for _, key in ipairs(keys) do
      if not declared[key] then error('undeclared key ' .. key) end
    end
  end
  return setmetatable({
    call = function(...) check(...) return real.call(...) end,
    pcall = function(...) check(...) return real.pcall(...) end,
  }, {__index = real})
end)()
