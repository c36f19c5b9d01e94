-- What goes before the append script where only the owner of a part may append. Behind its own keys and arguments:
--
-- KEYS  the group's table of leases.  ARGV  the shard; its owner and fence.
-- Reply nothing if it is another's by now: nothing was written.

local owner, shard, leases = table.remove(ARGV), table.remove(ARGV), table.remove(KEYS)
if string.match(redis.call('HGET', leases, shard) or '', '^%S+ %d+') ~= owner then return {} end

