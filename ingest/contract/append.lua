-- Appends events to the streams of one exchange: each exactly once, in order, and never over a hole.
--
-- KEYS  the exchange's registry of streams, then one stream each. A stream's companions (…:state and so on) share
--       its hash tag and are derived from its key: naming five keys a stream would double the call.
-- ARGV  a generation for streams that have no state yet; a line of calls and this call's number in it, or '' and 0;
--       then per stream: the generation that the caller knows it in ('' for none), the caller's fence ('' for none),
--       how many entries, and five for each: rule, type, s, first, data.
-- Reply one text per stream: "ok|gap|lost|fenced g n last handled appended". "gap" means: the entry after the first
--       `handled` ones does not join; if all are handled, some were of a series of marks that has ended, and were
--       dropped. "lost" means: the stream is not the one that the caller knows, the server has lost it or a part of
--       it. "fenced": somebody with a higher fence has written here since. In all three cases that entry and the rest
--       of this stream's were not written. `last` is "-" before the first id, and so is g of a stream without state.
--
-- A type that is not as expected ends a script with what it has written so far. So each key is read before the first
-- write that depends on it: nothing is written twice when the call is sent again.
--
-- Ids are compared as numbers, exact up to 2^53; nanoseconds do not fit and are compared as text. What is stored is
-- always the text that came in: a number of 1e14 and more would lose its digits in tostring.

local SNAPSHOT_EVERY_MS = 10000
local WINDOW = 2000
local LINE_SECONDS = 3600
local ANOTHER_SERIES = 1000000 -- ids so far behind are no ids of ours sent twice: the exchange counts anew, or did

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
  local fields = { 'g', 'n', 'last', 'live', 'epoch', 'said', 'fence', 'open', 'mark', 'newest', 'session', 'counter',
    'snap_s', 'snap_ms', 'snap_bytes', 'delta_bytes', 'heard', 'base' }
  local values = redis.call('HMGET', key .. ':state', unpack(fields))
  local state = { key = key, changed = {}, appended = 0, registered = values[1] and true }
  for i = 1, #fields do
    state[fields[i]] = values[i] ~= '' and values[i] or nil
  end
  state.known = state.g or '-'
  state.g = state.g or ARGV[1]
  state.n = tonumber(state.n or 0)
  return state
end

local function set(state, field, value)
  state[field] = value
  state.changed[field] = value or ''
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

-- A number in MessagePack, by its upper and lower half.
local function uint64(high, low)
  local bytes = {}
  for i = 0, 3 do
    bytes[4 - i] = string.char(math.floor(high / 256 ^ i) % 256)
    bytes[8 - i] = string.char(math.floor(low / 256 ^ i) % 256)
  end
  return '\207' .. table.concat(bytes)
end

-- The registered gap that `first`…`last` lies in.
local function gap_around(state, first, last)
  local gap = redis.call('ZREVRANGEBYSCORE', state.key .. ':gaps', first, '-inf', 'LIMIT', 0, 1)[1]
  local from, to = string.match(gap or '', '^(%d+)%-(%d+)$')
  if from and tonumber(to) >= tonumber(last) then return gap, from, to end
end

-- An event that was given up for lost, and has come after all: it takes its ids out of their registered gap.
local function late(state, kind, s, data, first, last)
  local gap, from, to = gap_around(state, first, last)
  if not gap then return false end
  xadd(state, kind, s, data, true)
  local gaps = state.key .. ':gaps'
  redis.call('ZREM', gaps, gap)
  if tonumber(from) < tonumber(first) then
    redis.call('ZADD', gaps, from, string.format('%s-%.0f', from, first - 1))
  end
  if tonumber(to) > tonumber(last) then
    redis.call('ZADD', gaps, string.format('%.0f', last + 1), string.format('%.0f-%s', last + 1, to))
  end
  return true
end

local function register(state, kind, s, data, from, to)
  redis.call('ZCARD', state.key .. ':gaps')
  xadd(state, kind, s, data)
  redis.call('ZADD', state.key .. ':gaps', from, from .. '-' .. to)
end

-- Whether the identity is known; if not, `remember` keeps it among the newest ones.
local function knows(state, s)
  return redis.call('ZSCORE', state.key .. ':ids', s)
end

local function remember(state, s, score)
  redis.call('ZADD', state.key .. ':ids', score, s)
  redis.call('ZREMRANGEBYRANK', state.key .. ':ids', 0, -WINDOW - 1)
end

-- In the order of what was appended, whatever the generation: `base` is what those before it had.
local function remember_now(state, s)
  remember(state, s, (state.base or 0) + state.n)
end

-- What follows the word that a stream is out of order, or silent, takes that back.
local function go_on(state)
  if state.said and state.said ~= 'live' then set(state, 'said', nil) end
end

-- A whole book, which late joiners find beside the stream.
local function whole(state, kind, s, data)
  redis.call('HLEN', state.key .. ':snap')
  local id = xadd(state, kind, s, data)
  redis.call('HSET', state.key .. ':snap', 'id', id, 'n', string.format('%d', state.n), 'g', state.g,
    'epoch', state.epoch, 'data', data)
  set(state, 'live', '1')
  set(state, 'snap_ms', string.format('%.0f', now_ms))
  set(state, 'snap_bytes', #data)
  set(state, 'delta_bytes', 0)
  go_on(state)
end

-- Each rule: true if the entry is dealt with (appended, or dropped because the stream has it), false for a hole.
local rules = {}

function rules.dense(state, kind, s, first, data)
  if state.last then
    local last = tonumber(state.last)
    if tonumber(s) <= last then
      return late(state, kind, s, data, first, s) or last - s <= ANOTHER_SERIES
    end
    if tonumber(first) ~= last + 1 then return false end
  end
  xadd(state, kind, s, data)
  set(state, 'last', s)
  return true
end

function rules.range(state, kind, s, first, data)
  if state.last and tonumber(s) <= tonumber(state.last) then return state.last - s <= ANOTHER_SERIES end
  if state.live ~= '1' or tonumber(first) > tonumber(state.last) + 1 then return false end
  xadd(state, kind, s, data)
  set(state, 'last', s)
  set(state, 'delta_bytes', (state.delta_bytes or 0) + #data)
  go_on(state)
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
    -- What lies before it is in the stream, or in the gap that its writer says first. It may be of another series.
    if state.last and tonumber(s) > state.last + 1 then return false end
    set(state, 'epoch', string.format('%d', (state.epoch or 0) + 1))
  end
  whole(state, kind, s, data)
  set(state, 'last', s)
  set(state, 'snap_s', s)
  return true
end

-- A book without ids: what its writer says is counted by the writer, from 1 in each of its sessions. A session begins
-- with a whole book, and only the writer's own next word follows: calls in flight together cannot mix up a book. What
-- comes of a session that another one has followed, comes again.
function rules.session(state, kind, s, first, data)
  local session, counter = string.match(s, '^(.+)%.(%d+)$')
  if session == state.session then
    if tonumber(counter) <= tonumber(state.counter) then return true end
    if tonumber(counter) ~= state.counter + 1 then return false end
  elseif knows(state, session) then
    return true
  elseif counter ~= '1' or kind ~= 'snapshot' then
    return false
  else
    set(state, 'epoch', string.format('%d', (state.epoch or 0) + 1))
  end
  local begins = session ~= state.session
  if kind == 'snapshot' then
    whole(state, kind, s, data)
  else
    xadd(state, kind, s, data)
  end
  set(state, 'session', session)
  set(state, 'counter', counter)
  if begins then remember_now(state, session) end
  return true
end

function rules.gap(state, kind, s, first, data)
  local from, to = string.match(first, '^(%d+)%-(%d+)$')
  if not state.last or tonumber(to) <= tonumber(state.last) then return true end
  if tonumber(from) ~= tonumber(state.last) + 1 then return false end
  register(state, kind, s, data, from, to)
  set(state, 'last', to)
  if state.live then set(state, 'live', '0') end
  return true
end

-- Where ids say nothing of what is between them, what may be missing is a span of time.
function rules.span(state, kind, s, first, data)
  if knows(state, s) then return true end
  local from, to = string.match(first, '^(%d+)%-(%d+)$')
  register(state, kind, s, data, from, to)
  -- Among trades it is as old as they are; among what is counted, as it stands there.
  if state.newest then remember(state, s, to) else remember_now(state, s) end
  return true
end

-- A stream that was deleted alone has its state still: what was in it is gone all the same. And a reader may have made
-- it again, empty, before anybody wrote: into that one nothing was ever added, into one that was trimmed there was.
local function is_gone(key)
  if redis.call('XLEN', key) > 0 then return false end
  if redis.call('EXISTS', key) == 0 then return true end
  local about = redis.call('XINFO', 'STREAM', key)
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then return about[i + 1] == '0-0' end
  end
end

-- What is in a stream no more comes again: nothing of it is known.
local function forget(state)
  for _, field in ipairs({ 'newest', 'session', 'counter', 'said', 'heard', 'open', 'mark' }) do
    if state[field] then set(state, field, nil) end
  end
  for _, field in ipairs(redis.call('HKEYS', state.key .. ':state')) do
    if string.sub(field, 1, 7) == 'ticker.' then redis.call('HDEL', state.key .. ':state', field) end
  end
  redis.call('DEL', state.key .. ':ids')
end

-- A stream goes on in another generation, behind this id if one is given.
local function renew(state, kind, s, data, last)
  state.known = ARGV[1]
  set(state, 'g', ARGV[1])
  set(state, 'base', string.format('%.0f', (state.base or 0) + state.n))
  set(state, 'n', 0)
  xadd(state, kind, s, data)
  if last then
    set(state, 'last', last)
    set(state, 'snap_s', nil)
    if state.live then set(state, 'live', '0') end
  end
end

-- The server has lost what it had confirmed: from here on, numbers may be given a second time. `first` is "g n" as the
-- caller has just read them, "- 0" for no state: of two who ask, one is heard. If nothing is left in the stream, the id
-- follows behind which its entries are said again, or are missing.
function rules.renewal(state, kind, s, first, data)
  local found, last = string.match(first, '^(%S+ %d+) ?(%d*)$')
  redis.call('ZCARD', state.key .. ':gaps')
  if found ~= string.format('%s %d', state.n > 0 and state.g or '-', state.n) then return true end
  local gone = is_gone(state.key)
  renew(state, kind, s, data, last ~= '' and last or nil)
  if gone then forget(state) end
  if last ~= '' then redis.call('ZREMRANGEBYSCORE', state.key .. ':gaps', '(' .. last, '+inf') end
  return true
end

-- The MessagePack map, of at most 13 fields, goes on with where the generation before has ended.
local function ended_at(data, g, n)
  return string.char(data:byte() + 2) .. data:sub(2) .. '\167after_g' .. string.char(0xa0 + #g) .. g .. '\167after_n'
    .. uint64(math.floor(n / 2 ^ 32), n)
end

-- The exchange counts from another beginning. `first` is "last begin": the newest id of the old series, "-" for none,
-- and that behind which the new one begins. Old ids and gaps mean nothing any more; what is of the old series, and
-- comes late or again, does not join. Of two who say so one is heard, for the other finds another newest id; and so is
-- who says it again, with all that was before, to a server that has lost it: only where that is, is another place.
function rules.restart(state, kind, s, first, data)
  if knows(state, s) then return true end
  local last, begin = string.match(first, '^(%S+) (%d+)$')
  redis.call('ZCARD', state.key .. ':gaps')
  if last ~= (state.last or '-') then return false end
  renew(state, kind, s, ended_at(data, state.n > 0 and state.g or '-', state.n), begin)
  redis.call('DEL', state.key .. ':gaps')
  remember_now(state, s)
  return true
end

function rules.window(state, kind, s, first, data)
  if knows(state, s) then return true end
  xadd(state, kind, s, data)
  remember_now(state, s)
  return true
end

-- Nanoseconds, of which a double has not all digits.
local function ns(ms, more)
  local high, low = math.floor(ms / 2 ^ 21) * 1000000, ms % 2 ^ 21 * 1000000 + more
  low = high % 2 ^ 11 * 2 ^ 21 + low
  return uint64(math.floor(high / 2 ^ 11) + math.floor(low / 2 ^ 32), low % 2 ^ 32)
end

-- What a writer believed to be here is not: the server has lost it since. Whether somebody says it again, nobody knows.
local function doubt(state, from, to)
  local s = from .. '-' .. to
  if knows(state, s) then return end
  local data = '\131\166reason\172unverifiable\167from_ns' .. ns(tonumber(from), 0) .. '\165to_ns'
    .. ns(tonumber(to), 999999)
  register(state, 'gap', s, data, from, to)
  remember(state, s, to)
end

-- Identities without an order of their own; `first` is the time in ms and, behind a blank, that of the newest before it
-- as its writer knows. What is older than all that is remembered may be known or not: it counts as known, unless
-- something is missing there. What comes behind newer ones is late.
function rules.opaque(state, kind, s, first, data)
  if knows(state, s) then return true end
  local time, before = string.match(first, '^(%d+) ?(%d*)$')
  local ids, time_ms = state.key .. ':ids', tonumber(time)
  if redis.call('ZCARD', ids) >= WINDOW then
    local oldest = redis.call('ZRANGE', ids, 0, 0, 'WITHSCORES')
    if time_ms < tonumber(oldest[2]) and not gap_around(state, time, time) then
      local older = state.older or redis.call('HGET', state.key .. ':state', 'older') or 0
      set(state, 'older', string.format('%d', older + 1))
      return true
    end
  end
  if state.newest and before ~= '' and tonumber(before) > tonumber(state.newest) then
    doubt(state, state.newest, tonumber(time) > tonumber(before) and time or before)
  end
  xadd(state, kind, s, data, state.newest and time_ms < tonumber(state.newest))
  remember(state, s, time)
  if not state.newest or time_ms > tonumber(state.newest) then set(state, 'newest', time) end
  return true
end

-- The newest mark of a source of tickers, and in which of its series that is: each time that it begins to count anew is
-- another one, and `NAME` is called `NAME~1`, `NAME~2`, …
local function newest_of(state, source)
  local field = 'ticker.' .. source
  local stored = state[field] or redis.call('HGET', state.key .. ':state', field)
  if stored then return string.match(stored, '^(%d+)~?(%d*)$') end
end

-- "SOURCE.MARK" and "SOURCE~SERIES.MARK"
local function named(s)
  local source, series, mark = string.match(s, '^([^~]+)~?(%d*)%.(%d+)$')
  return source, mark, series
end

-- Whether the source was heard in the stream since that was told to be silent.
local function was_heard(state, source)
  return string.find(' ' .. (state.heard or '') .. ' ', ' ' .. source .. ' ', 1, true)
end

function rules.ticker(state, kind, s, first, data)
  local source, mark, series = named(s)
  local newest, its_series = newest_of(state, source)
  if newest and above(its_series, series) then
    state.ended = true
    return true
  end
  if newest and series == its_series and not above(mark, newest) then return true end
  xadd(state, kind, s, data)
  set(state, 'ticker.' .. source, series == '' and mark or mark .. '~' .. series)
  if not was_heard(state, source) then
    set(state, 'heard', state.heard and state.heard .. ' ' .. source or source)
  end
  go_on(state)
  return true
end

-- What a writer says who hears all of a source from the mark `first` on: before that, some may be missing. So it is if
-- the stream has not come so far, and has not been told to be silent since that source was last heard in it.
function rules.silence(state, kind, s, first, data)
  if knows(state, s) then return true end
  local source, mark, series = named(first)
  local newest, its_series = newest_of(state, source)
  if not was_heard(state, source) then return true end
  if newest and (above(its_series, series) or (series == its_series and not above(mark, newest))) then return true end
  xadd(state, kind, s, data)
  set(state, 'said', 'stale')
  set(state, 'heard', nil)
  remember_now(state, s)
  return true
end

-- Candles follow one another without a hole: `first` is "open_ms-end_ms", both inclusive, and `last` the end of the
-- newest that is closed. What is still growing comes behind that, and never older than before.
function rules.candle(state, kind, s, first, data)
  local open, mark = string.match(s, '^(%d+)%.(.+)$')
  local from, to = string.match(first, '^(%d+)%-(%d+)$')
  if state.last and tonumber(from) <= tonumber(state.last) then
    if mark == 'closed' then late(state, kind, s, data, from, to) end
    return true
  end
  if state.last and tonumber(from) ~= state.last + 1 then return false end
  if mark == 'closed' then
    xadd(state, kind, s, data)
    set(state, 'last', to)
    return true
  end
  if state.open == open and not above(mark, state.mark) then return true end
  xadd(state, kind, s, data)
  set(state, 'open', open)
  set(state, 'mark', mark)
  if not state.last then set(state, 'last', string.format('%.0f', from - 1)) end
  return true
end

-- Whether nothing was appended behind these marks: the newest id, or the newest mark of each source or session.
local function stands_at(state, marks)
  for mark in string.gmatch(marks, '%S+') do
    local session, count = string.match(mark, '^(.+)%.(%d+)$')
    if not session then
      if mark ~= state.last then return false end
    elseif session == state.session then
      if count ~= state.counter then return false end
    else
      local source, its_mark, series = named(mark)
      local newest, its_series = newest_of(state, source)
      if newest ~= its_mark or its_series ~= series then return false end
    end
  end
  return marks ~= '' or state.n == 0
end

-- What one writer says of the state of a stream. `first` is the state and, behind a blank, where the writer stands:
-- that it hears nothing is true of the stream only if nobody else has written since. That it is live is said once.
function rules.state(state, kind, s, first, data)
  local word, marks = string.match(first, '^(%S+) ?(.*)$')
  if knows(state, s) or state.said == word then return true end
  if word ~= 'live' and not stands_at(state, marks) then return true end
  xadd(state, kind, s, data)
  set(state, 'said', word)
  if word == 'stale' then set(state, 'heard', nil) end
  remember_now(state, s)
  return true
end

local function append(state, expected, fence, position, count)
  if expected ~= '' and state.known ~= expected then return 'lost', 0 end
  if (line or expected ~= '') and state.n > 0 and is_gone(state.key) then return 'lost', 0 end
  if fence ~= '' then
    if state.fence and tonumber(fence) < tonumber(state.fence) then return 'fenced', 0 end
    if fence ~= state.fence then set(state, 'fence', fence) end
  end
  if not state.registered then redis.call('SISMEMBER', KEYS[1], state.key) end
  for handled = 0, count - 1 do
    local i = position + 5 * handled
    if not rules[ARGV[i]](state, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) then
      return 'gap', handled
    end
  end
  return state.ended and 'gap' or 'ok', count
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
  local count = tonumber(ARGV[position + 2])
  local outcome, handled = append(state, ARGV[position], ARGV[position + 1], position + 3, count)
  if state.appended > 0 or (state.registered and next(state.changed)) then
    save(state)
    state.known = state.g
  end
  replies[i - 1] = string.format('%s %s %d %s %d %d', outcome, state.known, state.n, state.last or '-', handled,
    state.appended)
  position = position + 3 + 5 * count
end
if line then redis.call('SET', line, ARGV[3], 'EX', LINE_SECONDS) end
return replies
