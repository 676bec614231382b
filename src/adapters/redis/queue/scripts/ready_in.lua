-- Returns the milliseconds until a batch can be claimed: 0 for now, -1 if unknown.
-- KEYS: queue, inflight
if redis.call('LLEN', KEYS[1]) > 0 then return 0 end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #first == 0 then return -1 end
local time = redis.call('TIME')
return math.max(0, first[2] - (time[1] * 1000 + math.floor(time[2] / 1000)))
