-- Appends events to the streams of one exchange: each exactly once, in order, and never over a hole.
--
-- KEYS  the exchange's registry of streams, then one stream each. A stream's companions (…:state and so on) share
--       its hash tag and are derived from its key: naming five keys a stream would double the call.
-- ARGV  a generation for streams that have no state yet; a line of calls and this call's number in it, or '' and 0;
--       then per stream: the generation that the caller knows it in ('' for none), how many entries, and five for
--       each: rule, type, s, first, data.
-- Reply one text per stream: "ok|gap|lost g n last handled appended". "gap" means: the entry after the first `handled`
--       ones does not join. "lost" means: the stream is not the one that the caller knows, the server has lost it or
--       a part of it. In both cases that entry and the rest of this stream's were not written. `last` is "-" before
--       the first id, and so is g of a stream without state.
--
-- Ids are compared as numbers, exact up to 2^53; nanoseconds do not fit and are compared as text. What is stored is
-- always the text that came in: a number of 1e14 and more would lose its digits in tostring.

local SNAPSHOT_EVERY_MS = 10000
local WINDOW = 2000
local LINE_SECONDS = 3600

-- Calls in flight together must not overtake one that failed (memory was full, then was not): a ticker or a candle of
-- the later call would make the earlier one's look old. So each call of a line follows the one before it, or fails.
local line = ARGV[2] ~= '' and KEYS[1] .. ':line:' .. ARGV[2]
if line and ARGV[3] ~= '1' and redis.call('GET', line) ~= string.format('%d', ARGV[3] - 1) then
  return redis.error_reply('EARLY the call before this one was not carried out')
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function above(a, b)
  return #a > #b or (#a == #b and a > b)
end

local function load(key)
  local fields = { 'g', 'n', 'last', 'live', 'epoch', 'open', 'mark', 'session', 'counter',
    'snap_s', 'snap_ms', 'snap_bytes', 'delta_bytes' }
  local values = redis.call('HMGET', key .. ':state', unpack(fields))
  local state = { key = key, changed = {}, appended = 0, registered = values[1] and true }
  for i = 1, #fields do
    state[fields[i]] = values[i] or nil
  end
  state.known = state.g or '-'
  state.g = state.g or ARGV[1]
  state.n = tonumber(state.n or 0)
  return state
end

local function set(state, field, value)
  state[field] = value
  state.changed[field] = value
end

local function xadd(state, kind, s, data, late)
  set(state, 'n', state.n + 1)
  local n = string.format('%d', state.n)
  local entry = { '*', 'v', '1', 'type', kind, 'n', n, 'g', state.g, 's', s, 'data', data }
  if state.epoch then
    entry[14], entry[15] = 'epoch', state.epoch
  end
  if late then
    entry[#entry + 1], entry[#entry + 2] = 'late', '1'
  end
  state.appended = state.appended + 1
  return redis.call('XADD', state.key, unpack(entry))
end

-- An event that was given up for lost, and has come after all: it takes its ids out of their registered gap.
local function late(state, kind, s, first, data)
  local gaps = state.key .. ':gaps'
  local gap = redis.call('ZREVRANGEBYSCORE', gaps, first, '-inf', 'LIMIT', 0, 1)[1]
  local from, to = string.match(gap or '', '^(%d+)%-(%d+)$')
  if not from or tonumber(to) < tonumber(s) then return end
  xadd(state, kind, s, data, true)
  redis.call('ZREM', gaps, gap)
  if tonumber(from) < tonumber(first) then
    redis.call('ZADD', gaps, from, string.format('%s-%.0f', from, first - 1))
  end
  if tonumber(to) > tonumber(s) then
    redis.call('ZADD', gaps, string.format('%.0f', s + 1), string.format('%.0f-%s', s + 1, to))
  end
end

-- A whole book, which late joiners find beside the stream.
local function whole(state, kind, s, data)
  local id = xadd(state, kind, s, data)
  redis.call('HSET', state.key .. ':snap', 'id', id, 'n', string.format('%d', state.n), 'g', state.g,
    'epoch', state.epoch, 'data', data)
  set(state, 'live', '1')
  set(state, 'snap_ms', string.format('%.0f', now_ms))
  set(state, 'snap_bytes', #data)
  set(state, 'delta_bytes', 0)
end

-- Each rule: true if the entry is dealt with (appended, or dropped because the stream has it), false for a hole.
local rules = {}

function rules.dense(state, kind, s, first, data)
  if state.last then
    local last = tonumber(state.last)
    if tonumber(s) <= last then
      late(state, kind, s, first, data)
      return true
    end
    if tonumber(first) ~= last + 1 then return false end
  end
  xadd(state, kind, s, data)
  set(state, 'last', s)
  return true
end

function rules.range(state, kind, s, first, data)
  if state.last and tonumber(s) <= tonumber(state.last) then return true end
  if state.live ~= '1' or tonumber(first) > tonumber(state.last) + 1 then return false end
  xadd(state, kind, s, data)
  set(state, 'last', s)
  set(state, 'delta_bytes', (state.delta_bytes or 0) + #data)
  return true
end

function rules.snapshot(state, kind, s, first, data)
  if state.live == '1' then
    local due = s == state.last and now_ms - state.snap_ms >= SNAPSHOT_EVERY_MS
      and tonumber(state.delta_bytes) > tonumber(state.snap_bytes)
    if not due then return true end
  else
    -- Sent again, with the gap that followed it already here: no reason to send for another. If it was new after all,
    -- the delta that follows it will not join.
    if state.last and tonumber(s) < tonumber(state.last) then return true end
    if state.snap_s and tonumber(s) <= tonumber(state.snap_s) then return true end
    set(state, 'epoch', string.format('%d', (state.epoch or 0) + 1))
  end
  whole(state, kind, s, data)
  set(state, 'last', s)
  set(state, 'snap_s', s)
  return true
end

-- A book without ids: what its writer says is counted by the writer, from 1 in each of its sessions. A session begins
-- with a whole book, and only the writer's own next word follows: calls in flight together cannot mix up a book.
function rules.session(state, kind, s, first, data)
  local session, counter = string.match(s, '^(.+)%.(%d+)$')
  if session == state.session then
    if tonumber(counter) <= tonumber(state.counter) then return true end
    if tonumber(counter) ~= state.counter + 1 then return false end
  elseif counter ~= '1' or kind ~= 'snapshot' then
    return false
  else
    set(state, 'epoch', string.format('%d', (state.epoch or 0) + 1))
  end
  if kind == 'snapshot' then
    whole(state, kind, s, data)
  else
    xadd(state, kind, s, data)
  end
  set(state, 'session', session)
  set(state, 'counter', counter)
  return true
end

function rules.gap(state, kind, s, first, data)
  local from, to = string.match(first, '^(%d+)%-(%d+)$')
  if not state.last or tonumber(to) <= tonumber(state.last) then return true end
  if tonumber(from) ~= tonumber(state.last) + 1 then return false end
  xadd(state, kind, s, data)
  redis.call('ZADD', state.key .. ':gaps', from, first)
  set(state, 'last', to)
  if state.live then set(state, 'live', '0') end
  return true
end

-- The server has lost what it had confirmed: from here on, numbers may be given a second time, so they are of another
-- generation. `first` is "g n" as the caller has just read them, "- 0" for no state: of two who ask, one is heard.
-- Behind that stands, if nothing is left in the stream, the id behind which its entries are said again or missing.
function rules.renewal(state, kind, s, first, data)
  local found, last = string.match(first, '^(%S+ %d+) ?(%d*)$')
  if found ~= string.format('%s %d', state.known, state.n) then return true end
  state.known = ARGV[1]
  set(state, 'g', ARGV[1])
  set(state, 'n', 0)
  xadd(state, kind, s, data)
  if last ~= '' then
    set(state, 'last', last)
    if state.live then set(state, 'live', '0') end
    redis.call('ZREMRANGEBYSCORE', state.key .. ':gaps', '(' .. last, '+inf')
  end
  return true
end

function rules.window(state, kind, s, first, data)
  local ids = state.key .. ':ids'
  if redis.call('ZSCORE', ids, s) then return true end
  xadd(state, kind, s, data)
  redis.call('ZADD', ids, state.n, s)
  redis.call('ZREMRANGEBYRANK', ids, 0, -WINDOW - 1)
  return true
end

function rules.ticker(state, kind, s, first, data)
  local source, mark = string.match(s, '^(.+)%.(%d+)$')
  local field = 'ticker.' .. source
  local newest = state[field] or redis.call('HGET', state.key .. ':state', field)
  if newest and not above(mark, newest) then return true end
  xadd(state, kind, s, data)
  set(state, field, mark)
  return true
end

function rules.candle(state, kind, s, first, data)
  local open, mark = string.match(s, '^(%d+)%.(.+)$')
  if state.open then
    if above(state.open, open) then return true end
    if state.open == open and (state.mark == 'closed' or (mark ~= 'closed' and not above(mark, state.mark))) then
      return true
    end
  end
  xadd(state, kind, s, data)
  set(state, 'open', open)
  set(state, 'mark', mark)
  return true
end

local function append(state, expected, position, count)
  -- A stream that was deleted alone has its state still: what was in it is gone all the same.
  if expected ~= '' and state.known ~= expected then return 'lost', 0 end
  if line and state.n > 0 and redis.call('EXISTS', state.key) == 0 then return 'lost', 0 end
  for handled = 0, count - 1 do
    local i = position + 5 * handled
    if not rules[ARGV[i]](state, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) then
      return 'gap', handled
    end
  end
  return 'ok', count
end

local function save(state)
  local fields = { 'g', state.g }
  for field, value in pairs(state.changed) do
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  redis.call('HSET', state.key .. ':state', unpack(fields))
  if not state.registered then redis.call('SADD', KEYS[1], state.key) end
end

local replies = {}
local position = 4
for i = 2, #KEYS do
  local state = load(KEYS[i])
  local count = tonumber(ARGV[position + 1])
  local outcome, handled = append(state, ARGV[position], position + 2, count)
  if state.appended > 0 then
    save(state)
    state.known = state.g
  end
  replies[i - 1] = string.format('%s %s %d %s %d %d', outcome, state.known, state.n, state.last or '-', handled,
    state.appended)
  position = position + 2 + 5 * count
end
if line then redis.call('SET', line, ARGV[3], 'EX', LINE_SECONDS) end
return replies
