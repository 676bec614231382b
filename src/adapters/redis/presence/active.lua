-- Records when sessions of a project were last active, unless they have ended since.
-- KEYS: the project's sessions, its ended sessions
-- ARGV: seconds until the key expires, then time and id of each session
local ids, active = {}, {}
for i = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
for n, over in ipairs(redis.call('ZMSCORE', KEYS[2], unpack(ids))) do
    local at = ARGV[2 * n]
    if not (over and tonumber(over) >= tonumber(at)) then
        active[#active + 1] = at
        active[#active + 1] = ids[n]
    end
end
if #active > 0 then redis.call('ZADD', KEYS[1], 'GT', unpack(active)) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
