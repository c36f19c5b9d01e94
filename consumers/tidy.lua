-- Removes names under which nobody has read for long. What has entries pending stays: they would go with it.
--
-- KEYS  the stream.  ARGV  the group, the consumer that asks, for how many ms nobody must have read.
-- Reply how many were removed.

local removed = 0
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
for _, flat in ipairs(consumers) do
  local each = {}
  for i = 1, #flat, 2 do each[flat[i]] = flat[i + 1] end
  if each.pending == 0 and each.idle > tonumber(ARGV[3]) and each.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], each.name)
    removed = removed + 1
  end
end
return removed
