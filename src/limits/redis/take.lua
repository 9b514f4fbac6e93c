-- Checks all windows of a request and, where every one admits it, counts it in all of them: one step, since Redis runs
-- one script at a time. The clock is Redis's own, so that the nodes' clocks do not matter.
--
-- KEYS  one for each scope; then, where ARGV[2] is not 0, one for the same request in this minute
-- ARGV  1 to count or 0 to look; how often the same request is accepted or 0; then, for each scope, the limits of a
--       second, an hour and a day, 0 for none
-- Value of a scope's key: number and count of the newest second, hour and day. Of a request's: of the newest minute.
-- Answer: 1 where it was counted; for each window, seconds until it ends and its count before this request.
local LENGTHS = { 1, 3600, 86400 }
local now = tonumber(redis.call('TIME')[1])
local same = tonumber(ARGV[2])
local scopes = #KEYS
if same > 0 then scopes = scopes - 1 end

local function read(key, size)
  local numbers = {}
  for digits in string.gmatch(redis.call('GET', key) or '', '%d+') do
    numbers[#numbers + 1] = tonumber(digits)
  end
  -- What somebody else wrote there is no count.
  if #numbers ~= 2 * size then
    for place = 1, 2 * size do numbers[place] = 0 end
  end
  return numbers
end

-- The window that now lies in begins. A clock that went back a little goes on in the newest window.
local function roll(numbers, place, length)
  local number = math.floor(now / length)
  if numbers[place] ~= number and numbers[place] ~= number + 1 then
    numbers[place], numbers[place + 1] = number, 0
  end
  return (numbers[place] + 1) * length - now, numbers[place + 1]
end

local admitted, answer, states = true, { 0 }, {}
for scope = 1, scopes do
  local numbers = read(KEYS[scope], 3)
  for window = 1, 3 do
    local left, used = roll(numbers, 2 * window - 1, LENGTHS[window])
    local limit = tonumber(ARGV[2 + 3 * (scope - 1) + window])
    if limit > 0 and used >= limit then admitted = false end
    answer[#answer + 1], answer[#answer + 2] = left, used
  end
  states[scope] = numbers
end
local repeats
if same > 0 then
  repeats = read(KEYS[#KEYS], 1)
  local left, used = roll(repeats, 1, 60)
  if used >= same then admitted = false end
  answer[#answer + 1], answer[#answer + 2] = left, used
end

if admitted and ARGV[1] == '1' then
  answer[1] = 1
  for scope = 1, scopes do
    local n = states[scope]
    local text = string.format('%d %d %d %d %d %d', n[1], n[2] + 1, n[3], n[4] + 1, n[5], n[6] + 1)
    redis.call('SET', KEYS[scope], text, 'EX', (n[5] + 1) * 86400 - now)
  end
  if same > 0 then
    local text = string.format('%d %d', repeats[1], repeats[2] + 1)
    redis.call('SET', KEYS[#KEYS], text, 'EX', (repeats[1] + 1) * 60 - now)
  end
end
return answer
