-- Redis does not undo a script's writes when a later command fails. So every script that writes
-- first reads its keys, which reveals a key of the wrong type; then it checks with this function
-- that its user may run the remaining commands; only then does it write. Writes that add come
-- before those that remove, and the write that marks something as done comes last: servers before
-- Redis 7.0 cannot check permissions, and there an interrupted script duplicates an item rather
-- than losing it.
local function check_allowed(...)
  if not redis.acl_check_cmd then return end
  for _, command in ipairs({...}) do
    if not redis.acl_check_cmd(unpack(command)) then
      error({err = 'NOPERM this user may not run ' .. command[1] .. ' on the key ' .. command[2]})
    end
  end
end

