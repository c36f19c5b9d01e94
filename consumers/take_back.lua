-- Makes entries of a stream pending for one consumer, whoever had them or let them go; but none that the group, which
-- handles the stream in order, has handled meanwhile: it would come again.
--
-- KEYS  the stream, the group's hash of handled entries.
-- ARGV  the group, the consumer, the generation that the entries are of, their ids.
-- Reply n of the newest entry of that generation that is handled, or 0.

local group, consumer, key = ARGV[1], ARGV[2], KEYS[1]
local known_g, known_n, _, known_id = standing(KEYS[2], key)
local known = known_g == ARGV[3] and known_n > 0

local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms or 0), tonumber(sequence or 0)
end

local known_ms, known_sequence = parts(known_id)
local words = { 'XCLAIM', key, group, consumer, 0 }
for i = 4, #ARGV do
  local ms, sequence = parts(ARGV[i])
  local is_behind = ms > known_ms or (ms == known_ms and sequence > known_sequence)
  if is_behind or not known then words[#words + 1] = ARGV[i] end
end
if #words > 5 then
  words[#words + 1] = 'FORCE'
  words[#words + 1] = 'JUSTID'
  redis.call(unpack(words))
end
return known and known_n or 0
