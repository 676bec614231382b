-- After a start of the server, claims of its run before may have been forgotten: what waits now
-- may have been handed out, and stored, already.
-- KEYS: run, doubtful, queue   ARGV: this run
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
-- Removed first: see claim.lua about memory.
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('SET', KEYS[1], ARGV[1])
local waiting = redis.call('LLEN', KEYS[3])
if waiting > 0 then redis.call('SET', KEYS[2], waiting) end
return waiting
