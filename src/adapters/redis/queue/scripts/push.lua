-- Adds a group of items, unless it was given up meanwhile.
-- KEYS: queue, the series of groups   ARGV: the group's number in it, seconds to remember, items
-- Returns the depth, or -1 when the series is closed.
if redis.call('GET', KEYS[2]) == 'closed' then return -1 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return redis.call('LPUSH', KEYS[1], unpack(ARGV, 3))
