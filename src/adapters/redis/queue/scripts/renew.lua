-- Holds a batch for another lease; one of 0 gives it back.
-- KEYS: inflight, meta   ARGV: id, epoch, lease in ms
-- Returns 0 when the batch is another's.
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%.0f', now + tonumber(ARGV[3]))
-- Removes nothing, and comes first: see claim.lua about memory.
redis.call('ZREM', KEYS[1], '')
redis.call('ZADD', KEYS[1], lease_end, ARGV[1])
return 1
