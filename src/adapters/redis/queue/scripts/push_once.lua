-- Adds items whose ids their clients chose, except those whose id is remembered.
-- KEYS: queue, failed, then the key that remembers each id
-- ARGV: most items waiting, most items failed, seconds to remember, items
-- Returns {depth, failed items, then for each item: 1 added, 0 known, -1 no room, -2 the failed
-- list is full}.
local bound, most_failed = tonumber(ARGV[1]), tonumber(ARGV[2])
local depth = redis.call('LLEN', KEYS[1])
local failed = redis.call('LLEN', KEYS[2])
local answers = {depth, failed}
check_allowed({'LPUSH', KEYS[1], ''})
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    answers[i] = 0
  elseif failed >= most_failed then
    answers[i] = -2
  elseif depth >= bound then
    answers[i] = -1
  else
    check_allowed({'SET', KEYS[i], '1', 'EX', ARGV[3]})
    -- In this order: an id must not be remembered when its item was refused.
    depth = redis.call('LPUSH', KEYS[1], ARGV[i + 1])
    redis.call('SET', KEYS[i], '1', 'EX', ARGV[3])
    answers[i] = 1
  end
end
answers[1] = depth
return answers
