-- One request of one caller: the algorithm of quota.rs, by the clock of Redis, so that all processes agree on the time.
-- KEYS[1]: the caller. ARGV[1]: what a request costs, ARGV[2]: the most that may be owed, both in microseconds.
-- Answers whether it is admitted (1 or 0), and what is owed then.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local price = tonumber(ARGV[1])
local debt_max = tonumber(ARGV[2])
local paid_at = tonumber(redis.call('GET', KEYS[1]) or now)
local debt = math.min(math.max(paid_at - now, 0), debt_max)
if debt + price > debt_max then
    return {0, debt}
end
debt = debt + price
redis.call('SET', KEYS[1], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
return {1, debt}
