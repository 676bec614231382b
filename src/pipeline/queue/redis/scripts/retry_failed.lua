-- Moves failed items to the end of the queue.
-- KEYS: failed, queue   ARGV: a mark for places that are to go, then for each item: where it was
-- found, counted from the oldest, and the item
-- Returns how many there were.
local mark = ARGV[1]
-- Removes nothing, and comes first: see claim.lua about memory.
redis.call('LREM', KEYS[1], 1, mark)
local moved = 0
for i = 2, #ARGV, 2 do
  local index, item = ARGV[i], ARGV[i + 1]
  local found = redis.call('LINDEX', KEYS[1], index) == item
  if found then
    redis.call('LSET', KEYS[1], index, mark)
  else
    -- Another one was removed meanwhile, so this one has another place, if it is there still.
    found = redis.call('LREM', KEYS[1], 1, item) == 1
  end
  if found then
    local is_record, record = pcall(cjson.decode, item)
    is_record = is_record and type(record) == 'table' and type(record.reason) == 'string'
      and type(record.body) == 'string'
    redis.call('LPUSH', KEYS[2], is_record and record.body or item)
    moved = moved + 1
  end
end
redis.call('LREM', KEYS[1], 0, mark)
return moved
