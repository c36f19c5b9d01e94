-- Takes a lease, renews it, or gives it back.
--
-- KEYS  the lease.
-- ARGV  who asks; for how many ms, or 0 to give it back.
-- Reply 1 if it is not another's.
--
-- DEL comes first: a script whose first write is SET is refused when memory is full, just when a janitor is needed.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
