-- Writes a position, if it still stands at the fill at which its writer read it.
-- KEYS  the position's hash, the exchange's set of positions.  ARGV  that fill's g and n ("" of none), fields and values.
-- Reply 1, or 0 if another fill is in it by now: nothing was written.
local at = redis.call('HMGET', KEYS[1], 'fills_g', 'fills_n')
if (at[1] or '') ~= ARGV[1] or (at[2] or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('SADD', KEYS[2], KEYS[1])
return 1
