-- Extends the lease of a batch; a lease of 0 releases it.
-- KEYS: inflight, meta   ARGV: id, epoch, lease in ms
-- Returns 0 if the claim is stale.
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%.0f', now + tonumber(ARGV[3]))
-- Removes nothing, but must come first: see the note on memory in claim.lua.
redis.call('ZREM', KEYS[1], '')
redis.call('HSET', KEYS[2], 'lease', ARGV[3])
redis.call('ZADD', KEYS[1], lease_end, ARGV[1])
return 1
