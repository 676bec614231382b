-- Records when sessions of a project were last active.
-- KEYS: the project's sessions, its ended sessions
-- ARGV: the time before which a session is idle, seconds until the key expires, then time and id of
-- each session
local sessions, ended = KEYS[1], KEYS[2]
for i = 3, #ARGV, 2 do
    local at, session = tonumber(ARGV[i]), ARGV[i + 1]
    local over = redis.call('ZSCORE', ended, session)
    if at >= tonumber(ARGV[1]) and not (over and tonumber(over) >= at) then
        redis.call('ZADD', sessions, 'GT', ARGV[i], session)
    end
end
redis.call('EXPIRE', sessions, ARGV[2])
