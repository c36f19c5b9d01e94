-- Acknowledges what a group has handled of the streams of one exchange, and writes down how far it is.
--
-- KEYS  the group's hash of handled entries, then the streams, one of them again for each generation of its entries.
-- ARGV  the group, then per stream: g and n of the newest entry, how many ids, the ids.
-- Reply how many of the ids were still pending: one that is acknowledged twice counts once.
--
-- XACK comes first: a script whose first write takes memory is refused when memory is full, and acknowledging is
-- what lets it be freed.

local group = ARGV[1]

-- Of two generations the one that the stream is in now is the later one; entries of the other came again.
local function newest(key, g, n, known_g, known_n)
  if g == known_g then return g, math.max(n, known_n) end
  if known_g == '-' or redis.call('HGET', key .. ':state', 'g') == g then return g, n end
  return known_g, known_n
end

local removed = 0
local position = 2
for i = 2, #KEYS do
  local key, g, n, ids = KEYS[i], ARGV[position], tonumber(ARGV[position + 1]), tonumber(ARGV[position + 2])
  local acked = redis.call('XACK', key, group, unpack(ARGV, position + 3, position + 2 + ids))
  local known = redis.call('HGET', KEYS[1], key) or '- 0 0'
  local known_g, known_n, count = string.match(known, '^(%S+) (%d+) (%d+)$')
  g, n = newest(key, g, n, known_g, tonumber(known_n))
  redis.call('HSET', KEYS[1], key, string.format('%s %d %d', g, n, count + acked))
  removed = removed + acked
  position = position + 3 + ids
end
return removed
