-- Makes all that is pending in a stream pending for one consumer, whoever has it.
--
-- KEYS  the stream.  ARGV  the group, the consumer.
-- Reply how many of these entries exist no more; they are not pending any more.

local cursor, trimmed = '0-0', 0
repeat
  local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, cursor, 'COUNT', 1000, 'JUSTID')
  cursor = reply[1]
  trimmed = trimmed + #reply[3]
until cursor == '0-0'
return trimmed
