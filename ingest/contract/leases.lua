-- One member's round: stays a member, renews and takes leases of shards, hands them over, and tells how all stand.
--
-- KEYS  members: hash, member -> when it counts as gone, in ms; shards: hash, shard -> "OWNER FENCE EXPIRES READY".
-- ARGV  who asks; for how many ms it is believed; 1 if it leaves, else 0; then asks, each "SHARD VERB FENCE":
--       hold   renews what is its own, and takes what is nobody's. FENCE is the highest that it has seen there.
--       ready  the shard is another's, but its data flows here as well: it can be handed over.
--       give   hands it to who is ready for it, if that one still lives and is; else renews it.
--       drop   gives it back for anybody to take.
-- Reply whether the asker had been a member until now; the members; and each shard as "SHARD OWNER FENCE READY". Where
--       nobody is, there is "-".
--
-- The fence of a shard goes up with each change of its owner, and never down: the record of a shard stays when nobody
-- has it, and one that was lost begins at the time, in ms, which is far above what counting could have reached.
-- A lease that ran out is still its owner's until somebody takes it.

local members, shards = KEYS[1], KEYS[2]
local me, ttl_ms, leaves = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = now_ms + ttl_ms

-- HDEL comes first: a script whose first write is HSET is refused when memory is full, and then all leases would run
-- out. What is written here takes the place of what is there.
local living, known = {}, 0
local stored = redis.call('HGETALL', members)
redis.call('HDEL', members, me)
for i = 1, #stored, 2 do
  local name, gone_ms = stored[i], tonumber(stored[i + 1])
  if gone_ms <= now_ms then
    redis.call('HDEL', members, name)
  elseif name == me then
    known = 1
  else
    living[name] = gone_ms
  end
end
if not leaves then
  living[me] = until_ms
  redis.call('HSET', members, me, string.format('%d', until_ms))
end

local rows = {}
stored = redis.call('HGETALL', shards)
for i = 1, #stored, 2 do
  local owner, fence, expires, ready = string.match(stored[i + 1], '^(%S+) (%d+) (%d+) (%S+)$')
  rows[stored[i]] = { owner = owner, fence = tonumber(fence), expires = tonumber(expires), ready = ready }
end

local function change(row, owner, fence, expires)
  row.owner, row.fence, row.expires, row.ready, row.changed = owner, fence, expires, '-', true
end

local function nobodys(row)
  return row.owner == '-' or (row.owner ~= me and row.expires <= now_ms)
end

local verbs = {}

function verbs.hold(row, fence)
  if row.owner == me then
    row.expires, row.changed = until_ms, true
  elseif nobodys(row) then
    change(row, me, math.max(row.fence, fence) + 1, until_ms)
  end
end

function verbs.give(row, fence)
  if row.owner == me and living[row.ready] then
    change(row, row.ready, row.fence + 1, living[row.ready])
  else
    verbs.hold(row, fence)
  end
end

function verbs.drop(row)
  if row.owner == me then change(row, '-', row.fence, 0) end
end

local ready = {}
for i = 4, #ARGV do
  local shard, verb, fence = string.match(ARGV[i], '^(%d+) (%a+) (%d+)$')
  rows[shard] = rows[shard] or { owner = '-', fence = now_ms, expires = 0, ready = '-' }
  if verb == 'ready' then
    ready[shard] = true
  else
    verbs[verb](rows[shard], tonumber(fence))
  end
end

local names, told, changed = {}, {}, {}
for name in pairs(living) do
  names[#names + 1] = name
end
for shard, row in pairs(rows) do
  if ready[shard] and row.owner ~= me and not nobodys(row) and row.ready ~= me then
    row.ready, row.changed = me, true
  elseif row.ready == me and not ready[shard] then
    row.ready, row.changed = '-', true
  end
  if row.changed then
    changed[#changed + 1] = shard
    changed[#changed + 1] = string.format('%s %d %d %s', row.owner, row.fence, row.expires, row.ready)
  end
  local owner = nobodys(row) and '-' or row.owner
  told[#told + 1] = string.format('%s %s %d %s', shard, owner, row.fence, row.ready)
end
if #changed > 0 then redis.call('HSET', shards, unpack(changed)) end
return { known, names, told }
