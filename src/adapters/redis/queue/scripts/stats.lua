-- Counts items.
-- KEYS: queue, inflight, failed   ARGV: prefix of batches
-- Returns {items waiting, items in batches, items failed}.
local in_flight = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  in_flight = in_flight + redis.call('LLEN', ARGV[1] .. id)
end
return {redis.call('LLEN', KEYS[1]), in_flight, redis.call('LLEN', KEYS[3])}
