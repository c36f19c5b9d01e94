-- What the scripts begin with that only the owner of a part may have done.

-- Whether the shard is still the member's under that fence. Where there is no member, there is no owner either.
local function is_ours(leases, member, shard, fence)
  if member == '' then return true end
  return string.match(redis.call('HGET', leases, shard) or '', '^%S+ %d+') == member .. ' ' .. fence
end

local function is_redriven(key)
  return string.find(key, '^md:{[^}]*}:redo%-')
end

-- How far a group is in a stream: g, n and id of the newest entry that it has handled, and how many in all.
local function standing(hash, key)
  local g, n, count, id = string.match(redis.call('HGET', hash, key) or '- 0 0 ', '^(%S+) (%d+) (%d+) ?(%S*)$')
  return g, tonumber(n), tonumber(count), id
end

-- Of two generations the one that the stream is in now is the later one; entries of the other came again.
local function is_newer(key, g, n, known_g, known_n)
  if g == known_g then return n > known_n end
  return known_g == '-' or redis.call('HGET', key .. ':state', 'g') == g
end

-- Writes down how far the group is, and how many more it has handled. What was redriven was counted when it was read.
local function advance(hash, key, id, g, n, handled)
  if is_redriven(key) then return end
  local known_g, known_n, count, known_id = standing(hash, key)
  if not is_newer(key, g, n, known_g, known_n) then g, n, id = known_g, known_n, known_id end
  redis.call('HSET', hash, key, string.format('%s %d %d %s', g, n, count + handled, id))
end
