-- Lists the batches in flight, in the order in which their leases end.
-- KEYS: inflight   ARGV: prefix of batches, maximum number
-- Returns {now in ms, then for each: id, end of its lease, items, epoch, owner, attempts, claimed}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local result = {string.format('%.0f', now)}
local found = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local items = ARGV[1] .. found[i]
  local meta = redis.call('HMGET', items .. ':meta', 'epoch', 'owner', 'attempts', 'claimed')
  result[#result + 1] = found[i]
  result[#result + 1] = string.format('%.0f', found[i + 1])
  result[#result + 1] = string.format('%.0f', redis.call('LLEN', items))
  for n = 1, 4 do result[#result + 1] = meta[n] or '' end
end
return result
