-- Has the effect of one entry and acknowledges it, in one step and once.
--
-- KEYS  the group's hash of handled entries, its table of leases, its hash of tries, the stream, then the keys of the
--       commands, so that they are known to lie in one slot.
-- ARGV  the group; the member that asks, or '' where nobody owns anything; shard and fence; id, g and n of the entry;
--       then per command: how many words, the words.
-- Reply 1; 0 if it was done before; -1 if the stream is another's by now; -2 if it is not pending: the group is gone, or
--       Redis has forgotten that it was ever read. Then it comes again, perhaps under another g. There was no effect.
--
-- The commands come first: if memory is full, or the first of them makes no sense, nothing was done.

local group, member, key, id = ARGV[1], ARGV[2], KEYS[4], ARGV[5]
local g, n = ARGV[6], tonumber(ARGV[7])

if not is_ours(KEYS[2], member, ARGV[3], ARGV[4]) then return -1 end
local pending = redis.pcall('XPENDING', key, group, id, id, 1)
local is_pending = not pending.err and #pending > 0
if member ~= '' and not is_redriven(key) then
  local known_g, known_n = standing(KEYS[1], key)
  if known_g == g and n <= known_n then
    if is_pending then redis.call('XACK', key, group, id) end
    return 0
  end
  if not is_pending then return -2 end
elseif not is_pending then
  return 0
end

local position = 8
while position <= #ARGV do
  local words = tonumber(ARGV[position])
  redis.call(unpack(ARGV, position + 1, position + words))
  position = position + 1 + words
end
redis.call('XACK', key, group, id)
if is_redriven(key) then redis.call('XDEL', key, id) end
advance(KEYS[1], key, id, g, n, 1)
redis.call('HDEL', KEYS[3], key .. ' ' .. id .. ' failures', key .. ' ' .. id .. ' deliveries')
return 1
