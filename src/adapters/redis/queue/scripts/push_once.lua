-- Adds items with client-chosen ids, except those whose id is remembered.
-- KEYS: queue, failed, then the key that remembers each id
-- ARGV: most waiting items, most failed items, seconds to remember ids, items
-- Returns {depth, failed items, then for each item: 1 added, 0 duplicate, -1 queue full, -2 failed
-- list full}.
local bound, most_failed = tonumber(ARGV[1]), tonumber(ARGV[2])
local depth = redis.call('LLEN', KEYS[1])
local failed = redis.call('LLEN', KEYS[2])
local results = {depth, failed}
check_allowed({'LPUSH', KEYS[1], ''})
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    results[i] = 0
  elseif failed >= most_failed then
    results[i] = -2
  elseif depth >= bound then
    results[i] = -1
  else
    check_allowed({'SET', KEYS[i], '1', 'EX', ARGV[3]})
    -- In this order: an id must not be remembered if its item was rejected.
    depth = redis.call('LPUSH', KEYS[1], ARGV[i + 1])
    redis.call('SET', KEYS[i], '1', 'EX', ARGV[3])
    results[i] = 1
  end
end
results[1] = depth
return results
