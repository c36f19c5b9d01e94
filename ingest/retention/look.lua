-- Trims one stream to what every group that needs it has acknowledged, and writes down whom it cost what: the look at
-- the groups, which cut.lua follows. They are one script, so that no group can move in between.
--
-- KEYS  the janitors' lease, the registry of groups, what is yet to be told, the stream. The stream's companions share
--       its hash tag and are derived from its key, as in the append.
-- ARGV  whose the lease must be; keep_ms: nothing younger goes; dead_ms: a group that holds entries after so long
--       without activity is parked, 0 for none; and for the hard cap, else '': until_ms, enough_bytes: entries before
--       that time go, whoever needs them, until no more than that is used.
-- Reply how many entries were trimmed; -1 if the lease is another's.

local stream, keep_ms, dead_ms = KEYS[4], tonumber(ARGV[2]), tonumber(ARGV[3])
local until_ms, enough_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function fields(flat)
  local named = {}
  for i = 1, #flat, 2 do named[flat[i]] = flat[i + 1] end
  return named
end

local function parts(id)
  local ms, seq = string.match(id, '(%d+)%-(%d+)')
  return tonumber(ms), tonumber(seq)
end

local function below(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function lower(a, b)
  return below(b, a) and b or a
end

local function behind(id)
  local ms, seq = parts(id)
  return string.format('%.0f-%.0f', ms, seq + 1)
end

local function start_of(ms)
  return string.format('%.0f-0', ms)
end

local function first_id(from, before)
  return (redis.call('XRANGE', stream, from, '(' .. before, 'COUNT', 1)[1] or {})[1]
end

local function last_id(upto)
  return (redis.call('XREVRANGE', stream, upto, '-', 'COUNT', 1)[1] or {})[1]
end

local function used_bytes()
  return tonumber(string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)'))
end

local newest = last_id('+')
if not newest or (until_ms and used_bytes() <= enough_bytes) then return 0 end

-- What the janitor knows of the stream, and what this call changes in that.
local known = fields(redis.call('HGETALL', stream .. ':retention'))
local forgotten, noted, told = {}, {}, {}

local function tell(...)
  told[#told + 1] = table.concat({ ... }, ' ')
end

-- The first entry that the group has not acknowledged. One that was trimmed while it was pending holds nothing up.
local function needs(name, unread)
  local oldest = redis.call('XPENDING', stream, name, '-', '+', 1)[1]
  if oldest and #redis.call('XRANGE', stream, oldest[1], oldest[1]) == 0 then
    oldest = redis.call('XPENDING', stream, name, first_id('-', behind(newest)), '+', 1)[1]
  end
  return oldest and lower(oldest[1], unread) or unread
end

-- A group that is not there yet stands at the beginning.
local function meet(name, there)
  there = there or { consumers = 0, pending = 0, ['last-delivered-id'] = '0-0' }
  local group = { name = name, field = 'group:' .. name, consumers = there.consumers, pending = there.pending }
  group.unread = behind(there['last-delivered-id'])
  group.needs = group.pending > 0 and needs(name, group.unread) or group.unread
  local state, since_ms, first, last, lost = string.match(known[group.field] or '', '^(%a+) (%d+) ?(%S*) ?(%S*) ?(%d*)$')
  group.absent_ms = state == 'absent' and tonumber(since_ms)
  group.parked_ms = state == 'parked' and tonumber(since_ms)
  group.first, group.last, group.lost = first, last, tonumber(lost) or 0
  return group
end

-- What a group has registered: a channel, or a channel and a symbol. A stream without a symbol is about all of them.
local function is_about(need, channel, symbol)
  local of, only = string.match(need, '^([^:]+):?(.*)$')
  return (of == channel or (of == 'candles' and string.find(channel, '^candles%-')))
    and (only == '' or symbol == '' or only == symbol)
end

local function those_who_need_it()
  local channel, symbol = string.match(stream, '^md:{[^}]*}:([^:]+):?(.*)$')
  local groups, there = {}, {}
  for field in pairs(known) do forgotten[field] = string.find(field, '^group:') and true end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do there[flat[2]] = fields(flat) end
  for name, needs in pairs(fields(redis.call('HGETALL', KEYS[2]))) do
    for need in string.gmatch(needs, '%S+') do
      if is_about(need, channel, symbol) then
        groups[#groups + 1] = meet(name, there[name])
        forgotten[groups[#groups].field] = nil
        break
      end
    end
  end
  return groups
end

-- Redis 7.0 does not count a read that got nothing as activity. But who holds entries without pending ones has some to
-- get; and who lets pending ones lie for so long while nothing new comes is as good as dead.
local function quiet_ms(group)
  if group.consumers == 0 then return group.absent_ms and now_ms - group.absent_ms or 0 end
  local least = math.huge
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group.name)) do
    least = math.min(least, fields(flat).idle)
  end
  return least
end

-- A parked group hears of its loss when it returns, any other at once.
local function tell_loss(group)
  if group.parked_ms then
    noted[group.field] = table.concat({ 'parked', group.parked_ms, group.first, group.last, group.lost }, ' ')
  elseif group.lost > 0 then
    tell('lost', stream, group.first, group.last, group.lost, group.name)
  end
end

local function greet(group)
  if group.parked_ms and group.consumers > 0 and now_ms - quiet_ms(group) >= group.parked_ms then
    tell('unparked', stream, group.parked_ms, group.name)
    group.parked_ms = nil
    tell_loss(group)
    group.lost = 0
    forgotten[group.field] = true
  elseif group.absent_ms and group.consumers > 0 then
    forgotten[group.field] = true
  elseif group.consumers == 0 and not group.absent_ms and not group.parked_ms then
    noted[group.field] = 'absent ' .. now_ms
  end
end

local groups = those_who_need_it()
for _, group in ipairs(groups) do greet(group) end
