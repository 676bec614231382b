-- Claims the batch whose lease ended first, or else a new batch with the oldest items.
-- KEYS: queue, inflight, items and meta of a new batch, then items and meta of each known batch
-- ARGV: id of a new batch, most items, lease in ms, most bytes, owner, then ids of known batches
-- Returns nil if nothing is waiting, else {id, epoch, items}, or {id, '0', 0} if that batch must be
-- known to continue.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = string.format('%.0f', now)
local lease_end = string.format('%.0f', now + tonumber(ARGV[3]))
local known = {}
for n = 6, #ARGV do
  known[ARGV[n]] = {items = KEYS[2 * n - 7], meta = KEYS[2 * n - 6]}
end

-- A lease longer than its batch's owner requested is from before the clock was set back.
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if last[1] and tonumber(last[2]) > now + tonumber(ARGV[3]) then
  if not known[last[1]] then return {last[1], '0', 0} end
  local length = redis.call('HGET', known[last[1]].meta, 'lease') or ARGV[3]
  if tonumber(last[2]) > now + tonumber(length) then
    redis.pcall('ZADD', KEYS[2], string.format('%.0f', now + tonumber(length)), last[1])
  end
end

-- When memory is full, Redis rejects a script's first write if that may need memory, but allows it
-- after another write. So ZREM, DEL or LTRIM come first, here and in other scripts, even if they
-- change nothing: otherwise a full server could never be emptied.
while true do
  local id = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
  if not id then break end
  if not known[id] then return {id, '0', 0} end
  local items, meta = known[id].items, known[id].meta
  local count = redis.call('LLEN', items)
  local before = redis.call('HMGET', meta, 'epoch', 'attempts')
  check_allowed({'ZREM', KEYS[2], id}, {'ZADD', KEYS[2], lease_end, id},
    {'HSET', meta, 'epoch', '1'}, {'DEL', meta})
  redis.call('ZREM', KEYS[2], '')
  if count > 0 then
    -- Not just the last epoch plus one: a server that crashed may have lost the last one.
    local micros = time[1] * 1000000 + time[2]
    local epoch = string.format('%.0f', math.max((tonumber(before[1] or '') or 0) + 1, micros))
    local attempts = string.format('%.0f', (tonumber(before[2] or '') or 0) + 1)
    redis.call('HSET', meta, 'epoch', epoch, 'owner', ARGV[5], 'claimed', claimed,
      'attempts', attempts, 'lease', ARGV[3])
    redis.call('ZADD', KEYS[2], lease_end, id)
    return {id, epoch, count}
  end
  redis.call('DEL', meta)
  redis.call('ZREM', KEYS[2], id)
end

local waiting = redis.call('LLEN', KEYS[1])
local count = math.min(waiting, tonumber(ARGV[2]))
if count == 0 then return false end
local most_bytes, bytes, fit = tonumber(ARGV[4]), nil, nil
-- A server copies many items with one command, in a quarter of the time of moving each from a
-- script, and with one command in its append-only file. Their size is estimated first: a copy of
-- too many large items might need more memory than is available.
if count > 100 then
  local sum = 0
  for nth = 1, 50 do
    sum = sum + #redis.call('LINDEX', KEYS[1], -math.ceil(count * nth / 50))
  end
  fit = math.max(1, math.min(count, math.floor(most_bytes * 50 * 0.9 / sum)))
end
local items, meta = KEYS[3], KEYS[4]
check_allowed({'DEL', items}, {'HSET', meta, 'epoch', '1'}, {'ZADD', KEYS[2], lease_end, ARGV[1]},
  {'LMOVE', KEYS[1], items, 'RIGHT', 'LEFT'})
redis.call('DEL', items)
-- The batch is registered before it has items: a batch that stays empty is dropped above, while
-- items in an unregistered batch would be lost.
redis.call('HSET', meta, 'epoch', '1', 'owner', ARGV[5], 'claimed', claimed, 'attempts', '1',
  'lease', ARGV[3])
redis.call('ZADD', KEYS[2], lease_end, ARGV[1])
if fit then
  -- A user may lack permission for SORT, MEMORY or LTRIM.
  local copied = redis.pcall('SORT', KEYS[1], 'BY', 'nosort', 'LIMIT', waiting - fit, fit,
    'STORE', items)
  bytes = copied == fit and redis.pcall('MEMORY', 'USAGE', items, 'SAMPLES', 0)
  if type(bytes) == 'number' and bytes <= most_bytes
    and redis.pcall('LTRIM', KEYS[1], 0, -fit - 1).ok then
    count = fit
  else
    redis.call('DEL', items)
    bytes = nil
  end
end
if not bytes then
  -- The last item may exceed the limit, so that a batch has at least one item.
  local moved = 0
  bytes = 0
  while moved < count and bytes < most_bytes do
    bytes = bytes + #redis.call('LMOVE', KEYS[1], items, 'RIGHT', 'LEFT')
    moved = moved + 1
  end
  count = moved
end
return {ARGV[1], '1', count}
