-- What the scripts share; put in front of each of them when it is loaded.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function whole(number)
  return string.format('%.0f', number)
end

local function type_of(key)
  return redis.call('TYPE', key)['ok']
end

-- A reply of names and values in turn, by name.
local function by_name(reply)
  local named = {}
  for i = 1, #reply, 2 do
    named[reply[i]] = reply[i + 1]
  end
  return named
end

local function stream_info(key)
  return by_name(redis.call('XINFO', 'STREAM', key))
end

-- Stop before the first write if the user may not run a command that comes after it.
local function require_permission(...)
  if not redis.acl_check_cmd(...) then
    local command, on, third = ...
    if command == 'XINFO' or command == 'XGROUP' then
      command, on = command .. ' ' .. on, third
    end
    error({err = 'NOPERM the user has no permission to run ' .. command .. ' on ' .. on})
  end
end

-- Decimal strings compared as numbers of any size: IDs go up to 2^64.
local function below(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

-- Whether an ID ("ms-seq", or "ms-*" for the first free one) can follow the newest of its stream.
local function follows(id, newest)
  local ms, seq = id:match('^(%d+)%-(.+)$')
  local newest_ms, newest_seq = newest:match('^(%d+)%-(%d+)$')
  if ms ~= newest_ms then
    return below(newest_ms, ms)
  end
  return seq == '*' or below(newest_seq, seq)
end

-- The expiry of a partition only ever moves back; one without any gets it. An ID from beyond the partition's end, a
-- wrong clock's, counts as its end.
local function roll_expiry(key, id, partition_end, retention)
  local at = math.min(tonumber(id:match('^%d+')), tonumber(partition_end)) + tonumber(retention)
  local expiry = redis.call('PEXPIRETIME', key)
  if expiry < 0 or expiry < at then
    redis.call('PEXPIREAT', key, whole(at))
  end
end

-- Why an entry of this time must not be written to its partition, or nil.
local function refuse_time(ms, retention, max_ahead)
  if ms + tonumber(retention) <= now then
    return 'OLD'
  elseif ms > now + tonumber(max_ahead) then
    return 'AHEAD'
  end
  return nil
end

local function trim(key, strategy, operator, threshold, limit)
  if strategy == 'MINID' then
    threshold = whole(math.max(0, now - tonumber(threshold)))
  end
  if limit == '' then
    return redis.call('XTRIM', key, strategy, operator, threshold)
  end
  return redis.call('XTRIM', key, strategy, operator, threshold, 'LIMIT', limit)
end
