-- Acknowledges what a group has handled of the streams of one exchange, and writes down how far it is.
--
-- KEYS  the group's hash of handled entries, its table of leases, its hash of tries, then the streams, one of them
--       again for each generation of its entries.
-- ARGV  the group; the member that asks, or '' where nobody owns anything; how many tries to forget, these; then per
--       stream: shard and fence; id, g and n of the newest entry; how many ids, the ids.
-- Reply per stream how many of the ids were still pending (one that is acknowledged twice counts once), or -1 if it is
--       another's by now: then nothing was done there.
--
-- XACK comes first: a script whose first write takes memory is refused when memory is full, and acknowledging is
-- what lets it be freed.

local group, member, tries = ARGV[1], ARGV[2], tonumber(ARGV[3])
local replies = {}
local position = 4 + tries
for i = 4, #KEYS do
  local key, shard, fence = KEYS[i], ARGV[position], ARGV[position + 1]
  local id, g, n = ARGV[position + 2], ARGV[position + 3], tonumber(ARGV[position + 4])
  local first = position + 6
  local last = first - 1 + ARGV[position + 5]
  if is_ours(KEYS[2], member, shard, fence) then
    replies[i - 3] = redis.call('XACK', key, group, unpack(ARGV, first, last))
    if is_redriven(key) then redis.call('XDEL', key, unpack(ARGV, first, last)) end
    advance(KEYS[1], key, id, g, n, replies[i - 3])
  else
    replies[i - 3] = -1
  end
  position = last + 1
end
if tries > 0 then redis.call('HDEL', KEYS[3], unpack(ARGV, 4, 3 + tries)) end
return replies
