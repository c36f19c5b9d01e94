-- Puts an entry that cannot be handled aside: into the group's dead letters, and out of what is pending, in one step.
--
-- KEYS  the dead letters, the group's hash of how many it has buried, its hash of handled entries, its table of leases,
--       its hash of tries, the stream.
-- ARGV  the group; the member that asks, or '' where nobody owns anything; shard and fence; id, g and n of the entry;
--       how many dead letters there may be; then the fields of the dead letter.
-- Reply 1; 0 if it is not pending any more; -1 if the stream is another's by now; -2 if there are too many dead letters.

local group, member, key, id = ARGV[1], ARGV[2], KEYS[6], ARGV[5]

if not is_ours(KEYS[4], member, ARGV[3], ARGV[4]) then return -1 end
local pending = redis.pcall('XPENDING', key, group, id, id, 1)
if pending.err or #pending == 0 then return 0 end
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[8]) then return -2 end

redis.call('XADD', KEYS[1], '*', unpack(ARGV, 9))
redis.call('XACK', key, group, id)
if is_redriven(key) then
  redis.call('XDEL', key, id)
else
  redis.call('HINCRBY', KEYS[2], key, 1)
  if ARGV[6] ~= '' then advance(KEYS[3], key, id, ARGV[6], tonumber(ARGV[7]), 0) end
end
redis.call('HDEL', KEYS[5], key .. ' ' .. id .. ' failures', key .. ' ' .. id .. ' deliveries')
return 1
