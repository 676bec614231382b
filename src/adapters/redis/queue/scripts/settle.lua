-- Settles what became of the last group of a series.
-- KEYS: the series of groups   ARGV: the group's number in it, seconds to remember
-- Returns 1 when it was added; else 0, and from now on it never will be.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
-- The only write: when it is refused, nothing is settled.
redis.call('SET', KEYS[1], 'closed', 'EX', ARGV[2])
return 0
