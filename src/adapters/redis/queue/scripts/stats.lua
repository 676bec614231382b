-- Counts items.
-- KEYS: queue, inflight, failed, then for each known batch its items   ARGV: ids of known batches
-- Returns {items waiting, items in known batches, items failed, ids of all batches}.
local items, in_flight = {}, 0
for n, id in ipairs(ARGV) do items[id] = KEYS[3 + n] end
local batches = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, id in ipairs(batches) do
  if items[id] then in_flight = in_flight + redis.call('LLEN', items[id]) end
end
return {redis.call('LLEN', KEYS[1]), in_flight, redis.call('LLEN', KEYS[3]), batches}
