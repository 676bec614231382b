-- Removes items from a list, and optionally appends them to the queue.
-- KEYS: list, queue   ARGV: a marker for items to remove, 1 to append to the queue, how many
-- positions to search, then for each item: where it was found, counted from the oldest, the item, and
-- what to append instead of it, empty to append it as it is
-- Returns for each item whether it was found.
local mark, retry, most = ARGV[1], ARGV[2] == '1', ARGV[3]
redis.call('LLEN', KEYS[1])
check_allowed({'LTRIM', KEYS[1], 0, -1}, {'LINDEX', KEYS[1], 0}, {'LPOS', KEYS[1], mark},
  {'LSET', KEYS[1], 0, mark}, {'LREM', KEYS[1], 0, mark})
if retry then
  redis.call('LLEN', KEYS[2])
  check_allowed({'LPUSH', KEYS[2], ''})
end
-- Removes nothing, but must come first: see the note on memory in claim.lua.
redis.call('LTRIM', KEYS[1], 0, -1)
-- Items removed at the old end in the meantime have moved all others by the same distance.
local moved, searches, removed, nearest = 0, 0, 0, nil
local results = {}
for i = 4, #ARGV, 3 do
  local item, index, edited = ARGV[i + 1], ARGV[i] + moved, ARGV[i + 2]
  local found = index < 0 and redis.call('LINDEX', KEYS[1], index) == item
  if not found and searches < 8 then
    searches = searches + 1
    local position = redis.call('LPOS', KEYS[1], item, 'RANK', -1, 'MAXLEN', most)
    if position then
      found, index = true, position - redis.call('LLEN', KEYS[1])
      moved = index - ARGV[i]
    end
  end
  results[#results + 1] = found and 1 or 0
  if found then
    if edited ~= '' then
      redis.call('LPUSH', KEYS[2], edited)
    elseif retry then
      local is_record, record = pcall(cjson.decode, item)
      is_record = is_record and type(record) == 'table' and type(record.reason) == 'string'
        and type(record.body) == 'string'
      redis.call('LPUSH', KEYS[2], is_record and record.body or item)
    end
    redis.call('LSET', KEYS[1], index, mark)
    removed = removed + 1
    nearest = math.max(nearest or index, index)
  end
end
-- LREM scans from the nearer end, only as far as the last marked item.
if removed > 0 then
  local from_oldest = -nearest * 2 < redis.call('LLEN', KEYS[1])
  redis.call('LREM', KEYS[1], from_oldest and -removed or removed, mark)
end
return results
