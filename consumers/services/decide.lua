-- Writes down what was decided upon an entry: once, by the owner of the symbol, and only while trading is on if it says so.
--
-- KEYS  the hash of what the service keeps of the symbol, the kill switch, the group's table of leases.
-- ARGV  the shard, its owner and fence, or '' where nobody owns anything; 1 if trading must be on; how many decisions
--       the caller knows of, and how many there are with this one; the field for it, and the decision.
-- Reply 'ok'; or 'taken' by another owner, 'killed', 'stale' if there are others than the caller knows of. Then nothing
--       was written.
local owner = ARGV[2]
if owner ~= '' and string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '', '^%S+ %d+') ~= owner then return 'taken' end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 'killed' end
if (redis.call('HGET', KEYS[1], 'decisions') or '0') ~= ARGV[4] then return 'stale' end
redis.call('HSET', KEYS[1], 'decisions', ARGV[5], ARGV[6], ARGV[7])
return 'ok'
