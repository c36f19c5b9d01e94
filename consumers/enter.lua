-- Registers a group at an exchange and makes it stand on streams, each at a place before which nothing is unhandled.
--
-- KEYS  the registry of groups, the group's hash of handled entries, its hash of buried ones, then the streams.
-- ARGV  the group; 1 if it handles each stream in order, else 0; then what it needs: CHANNEL or CHANNEL:SYMBOL.
-- Reply per stream `g n count id`, as the hash has it now.
--
-- A group begins at 0, never at $: what is there already is to be read. One that was there and is gone (destroyed, or
-- lost in a failover) goes on behind the newest entry that it has handled, if that is still the same one, and if the
-- group's count says that all up to it were handled; else at 0, and all comes again: other readers' entries in hand
-- went with it. Where a group handles in order, all up to the newest were handled, whatever the count, and are known
-- by g and n if they come again: then the newest itself was trimmed, and with it all of older generations.

local group, in_order = ARGV[1], ARGV[2] == '1'

local function register()
  local known = redis.call('HGET', KEYS[1], group) or ''
  local needs = known
  local function has(need)
    return string.find(' ' .. needs .. ' ', ' ' .. need .. ' ', 1, true)
  end
  for i = 3, #ARGV do
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
register()
for i = 4, #KEYS do
  local key = KEYS[i]
  local handled = redis.call('HGET', KEYS[2], key) or '- 0 0 '
  local g, n, count, id = string.match(handled, '^(%S+) (%d+) (%d+) ?(%S*)$')
  local from = (in_order or count == n) and stands(key, id, g, n) and id or '0'
  local made = redis.pcall('XGROUP', 'CREATE', key, group, from, 'MKSTREAM')
  if not made.err then
    if from == '0' then handled = in_order and table.concat({ g, n, 0, id }, ' ') or '- 0 0 ' end
    redis.call('HSET', KEYS[2], key, handled)
    if from == '0' then redis.call('HDEL', KEYS[3], key) end -- they come again, and are counted anew
  elseif not string.find(made.err, 'BUSYGROUP', 1, true) and not string.find(made.err, 'OOM', 1, true) then
    return made -- with memory full, it is taken to be there: reading must go on, and tells if it is not
  end
  replies[i - 3] = handled
end
return replies
