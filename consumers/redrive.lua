-- Moves a dead letter to where its group handles it after all.
--
-- KEYS  the dead letters, the set of the group's streams of redriven ones, that stream.  ARGV  the letter's id.
-- Reply 1, or 0 if there is no such letter any more.

local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
redis.call('XADD', KEYS[3], '*', unpack(letter[2]))
redis.call('SADD', KEYS[2], KEYS[3])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
