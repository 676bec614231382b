-- Removes a batch and moves its rejected items to the failed list.
-- KEYS: inflight, items, meta, failed
-- ARGV: id, epoch, then for each rejected item: its index, its record without the closing brace
-- Returns 0 if the claim is stale.
if redis.call('HGET', KEYS[3], 'epoch') ~= ARGV[2] then return 0 end
redis.call('ZCARD', KEYS[1])
local records = {}
for i = 3, #ARGV, 2 do
  local body = redis.call('LINDEX', KEYS[2], ARGV[i])
  if body then records[#records + 1] = ARGV[i + 1] .. cjson.encode(body) .. '}' end
end
check_allowed({'ZREM', KEYS[1], ARGV[1]}, {'UNLINK', KEYS[2], KEYS[3]})
if #records > 0 then
  redis.call('LLEN', KEYS[4])
  check_allowed({'LPUSH', KEYS[4], ''})
end
-- Removes nothing, but must come first: see the note on memory in claim.lua.
redis.call('ZREM', KEYS[1], '')
for _, record in ipairs(records) do redis.call('LPUSH', KEYS[4], record) end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
