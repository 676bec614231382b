-- Redis does not undo what a script wrote before an error. So every script that writes first reads
-- its keys, which shows a key of the wrong type, then checks with this function that its user may
-- run what is left to run, and only then makes its first write. Writes that add come before those
-- that remove, and what marks something as done comes last: servers before Redis 7.0 cannot check,
-- and there a script that is interrupted repeats an item rather than lose it.
local function check_allowed(...)
  if not redis.acl_check_cmd then return end
  for _, command in ipairs({...}) do
    if not redis.acl_check_cmd(unpack(command)) then
      error({err = 'NOPERM this user may not run ' .. command[1] .. ' on the key ' .. command[2]})
    end
  end
end

