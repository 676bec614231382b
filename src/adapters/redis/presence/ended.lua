-- Removes sessions that have ended, unless they were active later, and remembers their end: a page
-- view from before may be recorded after it.
-- KEYS: the project's sessions, its ended sessions
-- ARGV: seconds until the key expires, the time before which a session is idle, then time and id of
-- each session
local ids, over, recent = {}, {}, {}
for i = 4, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
for n, last in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(ids))) do
    local at = ARGV[2 * n + 1]
    if last and tonumber(last) <= tonumber(at) then over[#over + 1] = ids[n] end
    if tonumber(at) >= tonumber(ARGV[2]) then
        recent[#recent + 1] = at
        recent[#recent + 1] = ids[n]
    end
end
if #over > 0 then redis.call('ZREM', KEYS[1], unpack(over)) end
if #recent > 0 then redis.call('ZADD', KEYS[2], 'GT', unpack(recent)) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[1])
