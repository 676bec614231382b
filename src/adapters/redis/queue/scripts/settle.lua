-- Determines whether the last group of a series was added.
-- KEYS: the series of groups   ARGV: the group's number in it, seconds to store the result
-- Returns 1 if it was added; else 0, and it can never be added later.
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
-- The only write: if it is rejected, nothing is settled.
redis.call('SET', KEYS[1], 'closed', 'EX', ARGV[2])
return 0
