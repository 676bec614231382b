-- Adds items whose ids their clients chose, but those whose id is remembered.
-- KEYS: queue, then the key that remembers each id   ARGV: bound, seconds to remember, items
-- Returns {depth, then for each item: 1 added, 0 known, -1 no room}.
local bound = tonumber(ARGV[1])
local depth = redis.call('LLEN', KEYS[1])
local answers = {depth}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    answers[i] = 0
  elseif depth >= bound then
    answers[i] = -1
  else
    -- In this order: an id must not be remembered when its item was refused.
    depth = redis.call('LPUSH', KEYS[1], ARGV[i + 1])
    redis.call('SET', KEYS[i], '1', 'EX', ARGV[2])
    answers[i] = 1
  end
end
answers[1] = depth
return answers
