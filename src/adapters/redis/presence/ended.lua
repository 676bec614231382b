-- Removes sessions that have ended, unless they were active later, and remembers their end: a page
-- view from before may be recorded after it.
-- KEYS: the project's sessions, its ended sessions
-- ARGV: the time before which a session is idle, seconds until the key expires, then time and id of
-- each session
local sessions, ended = KEYS[1], KEYS[2]
for i = 3, #ARGV, 2 do
    local at, session = tonumber(ARGV[i]), ARGV[i + 1]
    local last = redis.call('ZSCORE', sessions, session)
    if last and tonumber(last) <= at then
        redis.call('ZREM', sessions, session)
    end
    if at >= tonumber(ARGV[1]) then
        redis.call('ZADD', ended, 'GT', ARGV[i], session)
    end
end
redis.call('ZREMRANGEBYSCORE', ended, '-inf', '(' .. ARGV[1])
redis.call('EXPIRE', ended, ARGV[2])
