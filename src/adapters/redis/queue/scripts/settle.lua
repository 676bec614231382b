-- Determines whether the last group of a series was added.
-- KEYS: the series of groups   ARGV: the group's number in it, seconds to store the result
-- Returns 1 if it was added; else 0, and it can never be added later.
-- Each way has one write: if it is rejected, nothing is settled. The caller may wait until it is on
-- disk (WAITAOF), and so is the group then, although it was added on another connection.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return 1
end
redis.call('SET', KEYS[1], 'closed', 'EX', ARGV[2])
return 0
