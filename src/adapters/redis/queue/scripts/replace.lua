-- Replaces a value, unless it has changed.
-- KEYS: the key   ARGV: the value before, empty for none, and the new one
-- Returns 0 if the value is another one.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
