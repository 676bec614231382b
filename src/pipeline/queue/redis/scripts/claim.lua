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
-- The last item may go over the bound, so that there is always one.
redis.call('DEL', items)
local moved, bytes, most_bytes = 0, 0, tonumber(ARGV[5])
while moved < count and bytes < most_bytes do
  bytes = bytes + #redis.call('LMOVE', KEYS[1], items, 'RIGHT', 'LEFT')
  moved = moved + 1
end
count = moved
redis.call('HSET', meta, 'epoch', '1', 'owner', ARGV[6], 'claimed', claimed, 'attempts', '1')
redis.call('ZADD', KEYS[2], lease_end, ARGV[2])
return {ARGV[2], '1', count}
