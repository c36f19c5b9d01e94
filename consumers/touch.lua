-- Says of entries that are in hand that they still are, so that nobody claims them. What another has claimed meanwhile
-- stays the other's.
--
-- KEYS  streams.  ARGV  the group, the consumer, then per stream how many ids, the ids.
-- Reply how many are still the consumer's.

local group, consumer = ARGV[1], ARGV[2]
local touched, position = 0, 3
for i = 1, #KEYS do
  local ours, ids = {}, tonumber(ARGV[position])
  for j = position + 1, position + ids do
    local pending = redis.pcall('XPENDING', KEYS[i], group, ARGV[j], ARGV[j], 1)
    if not pending.err and pending[1] and pending[1][2] == consumer then ours[#ours + 1] = ARGV[j] end
  end
  if #ours > 0 then
    local words = { 'XCLAIM', KEYS[i], group, consumer, 0 }
    for _, id in ipairs(ours) do words[#words + 1] = id end
    words[#words + 1] = 'JUSTID'
    redis.call(unpack(words))
  end
  touched = touched + #ours
  position = position + 1 + ids
end
return touched
