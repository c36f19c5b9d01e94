-- A token bucket for all who ask, by the server's clock: takes, and tells how long to wait before using what was taken.
--
-- KEYS  bucket: hash; tokens: what there was at `at`, in ms, and less than nothing if it is promised ahead; closed: until
--       when, in ms, the exchange wants to hear nothing. A bucket that is full and open again expires: one that is not
--       there is a full one.
-- ARGV  how much to take; the capacity; the refill in a second; for how many ms from now the exchange has closed, or 0.
-- Reply how many ms to wait before using it, and for how many ms it is closed: then nothing was taken.

local bucket = KEYS[1]
local amount, capacity, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]) / 1000
local close_ms = tonumber(ARGV[4])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local stored = redis.call('HMGET', bucket, 'tokens', 'at', 'closed')
local tokens, at_ms, closed_ms = tonumber(stored[1] or capacity), tonumber(stored[2] or now_ms), tonumber(stored[3] or 0)
-- The clock of a server that took another's place may be behind.
tokens = math.min(capacity, tokens + math.max(0, now_ms - at_ms) * per_ms)
if close_ms > 0 then
  closed_ms = math.max(closed_ms, now_ms + close_ms)
  tokens = math.min(tokens, 0)
end
if closed_ms <= now_ms then tokens = tokens - amount end

redis.call('HSET', bucket, 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now_ms),
  'closed', string.format('%d', closed_ms))
local full_ms = math.ceil((capacity - tokens) / per_ms)
redis.call('PEXPIRE', bucket, string.format('%d', math.max(1, full_ms, closed_ms - now_ms)))
return { math.ceil(math.max(0, -tokens) / per_ms), math.max(0, closed_ms - now_ms) }
