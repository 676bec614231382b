-- Removes items from a list, and may put them into another.
-- KEYS: list, queue   ARGV: a mark for places that are to go, 1 to put into the queue, how many
-- places to search, then for each item: where it was found, counted from the oldest, and the item
-- Returns for each item whether it was there.
local mark, retry, most = ARGV[1], ARGV[2] == '1', ARGV[3]
redis.call('LLEN', KEYS[1])
check_allowed({'LTRIM', KEYS[1], 0, -1}, {'LINDEX', KEYS[1], 0}, {'LPOS', KEYS[1], mark},
  {'LSET', KEYS[1], 0, mark}, {'LREM', KEYS[1], 0, mark})
if retry then
  redis.call('LLEN', KEYS[2])
  check_allowed({'LPUSH', KEYS[2], ''})
end
-- Removes nothing, and comes first: see claim.lua about memory.
redis.call('LTRIM', KEYS[1], 0, -1)
-- What was taken at the old end meanwhile has moved all others by as much.
local moved, searches, removed, nearest = 0, 0, 0, nil
local answers = {}
for i = 4, #ARGV, 2 do
  local item, index = ARGV[i + 1], ARGV[i] + moved
  local found = index < 0 and redis.call('LINDEX', KEYS[1], index) == item
  if not found and searches < 8 then
    searches = searches + 1
    local place = redis.call('LPOS', KEYS[1], item, 'RANK', -1, 'MAXLEN', most)
    if place then
      found, index = true, place - redis.call('LLEN', KEYS[1])
      moved = index - ARGV[i]
    end
  end
  answers[#answers + 1] = found and 1 or 0
  if found then
    if retry then
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
-- From the end that is nearer, and no further than to the last one.
if removed > 0 then
  local from_oldest = -nearest * 2 < redis.call('LLEN', KEYS[1])
  redis.call('LREM', KEYS[1], from_oldest and -removed or removed, mark)
end
return answers
