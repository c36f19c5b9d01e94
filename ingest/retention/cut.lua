-- The second half of the script that look.lua begins: the cut.
--
-- XTRIM comes before every other write: a script whose first write is XTRIM is carried out although memory is full,
-- and so is all that it writes behind that. It trims exactly, which costs no more than by whole nodes (0.13 µs an
-- entry against 0.10): an event that names what is gone has to be right.

local STEPS = 32 -- of a cut to the hard cap, so that it takes little more than it must
local PAGE = 1000
local MOST_GAPS = 10000

-- Up to where nobody needs anything. Who is dead and in the way is parked: it counts no more. The newest entry stays,
-- however old: it is all that a quiet symbol has to say. A book stays from its last snapshot on.
local function floor()
  local before = lower(start_of(math.max(now_ms - keep_ms, 1)), newest)
  before = lower(before, redis.call('HGET', stream .. ':snap', 'id') or before)
  local dead = {}
  for _, group in ipairs(groups) do
    if not group.parked_ms and below(group.needs, before) then
      if dead_ms > 0 and quiet_ms(group) >= dead_ms then
        dead[#dead + 1] = group
      else
        before = group.needs
      end
    end
  end
  for _, group in ipairs(dead) do
    if first_id(group.needs, before) then
      tell('parked', stream, now_ms, quiet_ms(group), group.name)
      group.parked_ms = now_ms
    end
  end
  return before
end

local function lose(group, first, last, entries)
  if entries > 0 then
    group.first = group.lost > 0 and group.first or first
    group.last = last
    group.lost = group.lost + entries
  end
end

-- What a parked group has pending is lost with it. Others may have it in hand, and may yet finish it.
local function lose_pending(group, from, before)
  repeat
    local page = redis.call('XPENDING', stream, group.name, from, '(' .. before, PAGE)
    if #page > 0 then
      lose(group, page[1][1], page[#page][1], #page)
      from = '(' .. page[#page][1]
    end
  until #page < PAGE
end

-- Who loses how much shows by cutting first up to where the first loser has read, then the next one.
local function cut(before)
  local first, last, losers, gone = first_id('-', before), nil, {}, 0
  if first then
    last = last_id('(' .. before)
    for _, group in ipairs(groups) do
      if first_id(group.needs, before) then losers[#losers + 1] = group end
    end
  end
  table.sort(losers, function(a, b) return below(a.unread, b.unread) end)
  for _, group in ipairs(losers) do
    group.loses, group.first_unread = true, first_id(group.unread, before)
    if group.parked_ms and group.pending > 0 then lose_pending(group, first, before) end
    gone = gone + redis.call('XTRIM', stream, 'MINID', '=', lower(group.unread, before))
    group.gone = gone
  end
  gone = gone + redis.call('XTRIM', stream, 'MINID', '=', before)
  for _, group in ipairs(losers) do lose(group, group.first_unread, last, gone - group.gone) end
  return gone, first, last
end

local function cut_until_enough()
  local oldest_ms = parts(first_id('-', behind(newest)))
  local gone, first, last = 0, nil, nil
  for step = 1, STEPS do
    local before = start_of(math.floor(oldest_ms + (until_ms - oldest_ms) * step / STEPS))
    local more, from, to = cut(lower(before, newest))
    gone, first, last = gone + more, first or from, to or last
    if used_bytes() <= enough_bytes then break end
  end
  return gone, first, last
end

local gone, first, last
if until_ms then
  gone, first, last = cut_until_enough()
else
  gone, first, last = cut(floor())
end

local losers = {}
for _, group in ipairs(groups) do
  if group.loses then
    losers[#losers + 1] = group.name
    tell_loss(group)
  end
end
table.sort(losers)
if gone > 0 then
  if until_ms then tell('trimmed', stream, first, last, gone, losers[1] and table.concat(losers, ',') or '-') end
  local is = fields(redis.call('XINFO', 'STREAM', stream))
  -- A stream that was deleted and written anew has fewer gone than were trimmed before that.
  noted.trimmed_n = math.min(known.trimmed_n or 0, is['entries-added'] - is.length - gone) + gone
  noted.trimmed_to = last
end

for field in pairs(forgotten) do redis.call('HDEL', stream .. ':retention', field) end
for field, value in pairs(noted) do redis.call('HSET', stream .. ':retention', field, value) end
for _, record in ipairs(told) do redis.call('ZADD', KEYS[3], now_ms, record) end

if redis.call('ZCARD', stream .. ':gaps') > MOST_GAPS then
  local oldest = fields(redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][2])
  if oldest.type == 'trade' then redis.call('ZREMRANGEBYSCORE', stream .. ':gaps', '-inf', '(' .. oldest.s) end
end
return gone
