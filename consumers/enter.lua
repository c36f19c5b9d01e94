-- Registers a group at an exchange and makes it stand on streams, each at a place before which nothing is unhandled.
--
-- KEYS  the registry of groups, the group's hash of handled entries, then the streams.
-- ARGV  the group, how many needs (CHANNEL or CHANNEL:SYMBOL), the needs, then per stream id, g and n of the last entry that the caller
--       has seen acknowledged, empty if none.
-- Reply per stream `g n count`, as the hash has it now.
--
-- A group begins at 0, never at $: what is there already is to be read. One that was there and is gone (destroyed, or
-- lost in a failover) goes on behind the caller's last entry if that is still the same one, and if the group's count
-- says that all up to it were handled; else at 0, and all comes again: other readers' entries in hand went with it.

local group = ARGV[1]

local function register(first, last)
  local known = redis.call('HGET', KEYS[1], group) or ''
  local needs = known
  local function has(need)
    return string.find(' ' .. needs .. ' ', ' ' .. need .. ' ', 1, true)
  end
  for i = first, last do
    if not has(ARGV[i]) and not has(string.match(ARGV[i], '^[^:]+')) then
      needs = needs == '' and ARGV[i] or needs .. ' ' .. ARGV[i]
    end
  end
  if needs ~= known then redis.call('HSET', KEYS[1], group, needs) end
end

local function stands(key, id, g, n)
  local entry = id ~= '' and redis.call('XRANGE', key, id, id)[1]
  if not entry then return false end
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields.g == g and fields.n == n
end

local replies = {}
local position = 3 + ARGV[2]
register(3, position - 1)
for i = 3, #KEYS do
  local key, id, g, n = KEYS[i], ARGV[position], ARGV[position + 1], ARGV[position + 2]
  local handled = redis.call('HGET', KEYS[2], key) or '- 0 0'
  local from = '0'
  if handled == g .. ' ' .. n .. ' ' .. n and stands(key, id, g, n) then from = id end
  local made = redis.pcall('XGROUP', 'CREATE', key, group, from, 'MKSTREAM')
  if not made.err then
    if from == '0' then handled = '- 0 0' end
    redis.call('HSET', KEYS[2], key, handled)
  elseif not string.find(made.err, 'BUSYGROUP', 1, true) and not string.find(made.err, 'OOM', 1, true) then
    return made -- with memory full, it is taken to be there: reading must go on, and tells if it is not
  end
  replies[i - 2] = handled
  position = position + 3
end
return replies
