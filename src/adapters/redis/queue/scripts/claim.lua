-- Claims the batch whose lease ended first, else makes one of the oldest items.
-- KEYS: queue, inflight
-- ARGV: prefix of batches, id of a new batch, most items, lease in ms, most bytes, who claims
-- Returns nil when nothing waits, else {id, epoch, items}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = string.format('%.0f', now)
local lease_end = string.format('%.0f', now + tonumber(ARGV[4]))

-- Out of memory, Redis refuses a script's first write if it is one that may need more, and lets
-- pass what follows another write. So ZREM, DEL and RENAME come first here: otherwise a full
-- server could never be emptied.
while true do
  local id = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
  if not id then break end
  local items = ARGV[1] .. id
  local meta = items .. ':meta'
  redis.call('ZREM', KEYS[2], id)
  local count = redis.call('LLEN', items)
  if count > 0 then
    redis.call('ZADD', KEYS[2], lease_end, id)
    -- Not only one more than the last: a server that crashed may have forgotten the last.
    local before = tonumber(redis.call('HGET', meta, 'epoch') or '0')
    local micros = time[1] * 1000000 + time[2]
    local epoch = string.format('%.0f', math.max(before + 1, micros))
    redis.call('HSET', meta, 'epoch', epoch, 'owner', ARGV[6], 'claimed', claimed)
    redis.call('HINCRBY', meta, 'attempts', 1)
    return {id, epoch, count}
  end
  redis.call('DEL', meta)
end

local waiting = redis.call('LLEN', KEYS[1])
local count = math.min(waiting, tonumber(ARGV[3]))
if count == 0 then return false end
local items = ARGV[1] .. ARGV[2]
local meta = items .. ':meta'
redis.call('DEL', items)
local most_bytes, bytes = tonumber(ARGV[5]), nil
-- Many items are copied by the server itself, which takes it a quarter of moving each from here and
-- one command in its append-only file. For that their size is guessed first: a copy of too many
-- large ones might need more memory than there is.
if count > 100 then
  local sum = 0
  for nth = 1, 50 do
    sum = sum + #redis.call('LINDEX', KEYS[1], -math.ceil(count * nth / 50))
  end
  local fit = math.max(1, math.min(count, math.floor(most_bytes * 50 * 0.9 / sum)))
  -- Not every user may sort.
  local copied = redis.pcall('SORT', KEYS[1], 'BY', 'nosort', 'LIMIT', waiting - fit, fit,
    'STORE', items)
  bytes = copied == fit and redis.pcall('MEMORY', 'USAGE', items, 'SAMPLES', 0)
  if type(bytes) == 'number' and bytes <= most_bytes then
    count = fit
    redis.call('LTRIM', KEYS[1], 0, -count - 1)
  else
    redis.call('DEL', items)
    bytes = nil
  end
end
if not bytes then
  -- The last item may go over the bound, so that there is always one.
  local moved = 0
  bytes = 0
  while moved < count and bytes < most_bytes do
    bytes = bytes + #redis.call('LMOVE', KEYS[1], items, 'RIGHT', 'LEFT')
    moved = moved + 1
  end
  count = moved
end
redis.call('HSET', meta, 'epoch', '1', 'owner', ARGV[6], 'claimed', claimed, 'attempts', '1')
redis.call('ZADD', KEYS[2], lease_end, ARGV[2])
return {ARGV[2], '1', count}
