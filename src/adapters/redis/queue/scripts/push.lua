-- Adds a group of items, unless its series is closed or too many items have failed.
-- KEYS: queue, the series of groups, failed
-- ARGV: the group's number in the series, seconds to store it, most failed items, items
-- Returns {depth, failed items}. Nothing was added if the depth is -1, because the series is
-- closed, or -2, because the failed list is full.
local failed = redis.call('LLEN', KEYS[3])
if redis.call('GET', KEYS[2]) == 'closed' then return {-1, failed} end
if failed >= tonumber(ARGV[3]) then return {-2, failed} end
redis.call('LLEN', KEYS[1])
check_allowed({'LPUSH', KEYS[1], ''}, {'SET', KEYS[2], ARGV[1], 'EX', ARGV[2]})
local depth = redis.call('LPUSH', KEYS[1], unpack(ARGV, 4))
-- Last, because settle.lua relies on it as proof that the group was added.
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return {depth, failed}
