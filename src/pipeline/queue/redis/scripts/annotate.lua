-- Keeps a note with a batch.
-- KEYS: meta   ARGV: epoch, note
-- Returns 0 when the batch is another's.
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
-- Removed first: see claim.lua about memory.
redis.call('HDEL', KEYS[1], 'note')
redis.call('HSET', KEYS[1], 'note', ARGV[2])
return 1
