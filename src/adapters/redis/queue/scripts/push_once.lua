-- Adds items with client-chosen ids, except those whose id is remembered, or only looks them up.
-- KEYS: queue, failed, fence, then for each item: hash of the latest ids, hash of the ids before
-- those, the key in which earlier versions of the program remembered its id
-- ARGV: most waiting items, most failed items, seconds to remember ids, most ids in a hash, the
-- caller's epoch, 'add' or 'look', then for each item: its id, its content, the item
-- Returns {depth, failed items, epoch of the fence, its age in seconds, then for each item: 1 added,
-- 0 duplicate, -1 queue full, -2 failed list full, -3 the id belongs to another content, -4 the
-- caller's epoch has ended, -5 not known}.
local bound, most_failed, most_ids = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
local epoch, adds = tonumber(ARGV[5]), ARGV[6] == 'add'
local depth = redis.call('LLEN', KEYS[1])
local failed = redis.call('LLEN', KEYS[2])
local fence, since = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) (%d+)$')
fence, since = tonumber(fence or 0), tonumber(since or 0)
local now = tonumber(redis.call('TIME')[1])
local results = {depth, failed, fence, now - since}
if fence > epoch then
  for i = 4, #KEYS, 3 do results[#results + 1] = -4 end
  return results
end
if adds then
  check_allowed({'LPUSH', KEYS[1], ''})
elseif fence < epoch then
  -- From now on, callers of earlier epochs add nothing here that the result does not show.
  local raised = string.format('%.0f %.0f', epoch, now)
  check_allowed({'SET', KEYS[3], raised})
  redis.call('SET', KEYS[3], raised)
  results[3], results[4] = epoch, 0
end
for i = 4, #KEYS, 3 do
  local recent, older, legacy = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local id, content, item = ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local before = redis.call('HGET', older, id)
  local latest = redis.call('HGET', recent, id)
  local known = latest or before
  local result
  if known and known ~= content then
    result = -3
  elseif known or redis.call('EXISTS', legacy) == 1 then
    -- A write, so that the caller can wait until the item, which another connection may have added a
    -- moment ago, is on disk (WAITAOF).
    local remembers = latest and recent or before and older or legacy
    check_allowed({'EXPIRE', remembers, ARGV[3]})
    redis.call('EXPIRE', remembers, ARGV[3])
    result = 0
  elseif not adds then
    result = -5
  elseif failed >= most_failed then
    result = -2
  elseif depth >= bound then
    result = -1
  else
    local is_full = redis.call('HLEN', recent) + 1 >= most_ids
    check_allowed({'HSET', recent, id, content}, {'EXPIRE', recent, ARGV[3]})
    if is_full then check_allowed({'RENAME', recent, older}) end
    -- In this order: an id must not be remembered if its item was rejected.
    depth = redis.call('LPUSH', KEYS[1], item)
    redis.call('HSET', recent, id, content)
    redis.call('EXPIRE', recent, ARGV[3])
    if is_full then redis.call('RENAME', recent, older) end
    result = 1
  end
  results[#results + 1] = result
end
results[1] = depth
return results
