-- A chunk of entries, all or nothing, with the expiry of its partition or the trimming of its stream.
-- KEYS: the stream; the guard, unless the mode is '' or 'native'.
-- ARGV: mode, token, required token, window in ms, bound of the native window; start and end of the partition,
-- retention, max_ahead (ms, or ''); trim strategy, operator, threshold, limit; 'auto' or 'given' IDs, 'bump' or '',
-- first and last time (ms, or ''); number of entries, number of shared field names, 'packed' or '', the names; then for
-- each entry its ID if given, the number of its words if no names are shared, and its values (or fields and values).
-- Packed, all of these are two arguments: the length of each word, in a byte, and the words behind one another. A
-- server takes two arguments in much faster than thousands.
local key, guard = KEYS[1], KEYS[2]
local mode, token, required, window = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local retention, max_ahead = ARGV[8], ARGV[9]
local strategy = ARGV[10]
local given, bump = ARGV[14] == 'given', ARGV[15] == 'bump'
local first_ms, last_ms = tonumber(ARGV[16]), tonumber(ARGV[17])
local count, shared, packed = tonumber(ARGV[18]), tonumber(ARGV[19]), ARGV[20] == 'packed'

local kind = type_of(key)
if kind ~= 'none' and kind ~= 'stream' then
  return {'TYPE', kind}
end
local guard_kind = guard and type_of(guard)
if guard and guard_kind ~= 'none' and guard_kind ~= (mode == 'chunk' and 'zset' or 'string') then
  return {'GUARD', guard_kind}
end
if mode == 'chunk' then
  if redis.call('ZSCORE', guard, token) then
    return {'OK', ''}
  elseif required ~= '' and not redis.call('ZSCORE', guard, required) then
    return {'CHAIN'}
  end
elseif mode == 'once' then
  local id = redis.call('GET', guard)
  if id then
    return {'OK', id}
  end
end
if retention ~= '' then
  if given then
    local refused = refuse_time(first_ms, retention, max_ahead) or refuse_time(last_ms, retention, max_ahead)
    if refused then
      return {refused, whole(now)}
    end
  elseif now < tonumber(ARGV[6]) or now >= tonumber(ARGV[7]) then
    return {'PERIOD', whole(now)}
  end
end

require_permission('XADD', key, '*', 'f', 'v')
if retention ~= '' then
  require_permission('PEXPIRETIME', key)
  require_permission('PEXPIREAT', key, '0')
end
if strategy ~= '' then
  require_permission('XTRIM', key, 'MAXLEN', '0')
end
if mode == 'chunk' then
  require_permission('ZADD', guard, '0', token)
  require_permission('ZREMRANGEBYSCORE', guard, '-inf', '0')
  require_permission('PEXPIRE', guard, '1')
elseif mode == 'once' then
  require_permission('SET', guard, 'id')
elseif mode == 'native' then
  require_permission('XCFGSET', key, 'IDMP-DURATION', '1')
end

local words = {'XADD', key}
if mode == 'native' then
  if kind == 'none' then
    redis.call('XGROUP', 'CREATE', key, 'streamkit', '0', 'MKSTREAM')
    redis.call('XGROUP', 'DESTROY', key, 'streamkit')
  end
  -- XCFGSET forgets every key it knew, so it is sent only where the window differs.
  local info = stream_info(key)
  local seconds, bound = math.ceil(tonumber(window) / 1000), tonumber(ARGV[5])
  if info['idmp-duration'] ~= seconds or info['idmp-maxsize'] ~= bound then
    redis.call('XCFGSET', key, 'IDMP-DURATION', whole(seconds), 'IDMP-MAXSIZE', whole(bound))
  end
  words = {'XADD', key, 'IDMP', 'streamkit', token}
end

local auto = '*'
if retention ~= '' and not given and tonumber(ARGV[7]) - now < 1000 then
  -- Redis 7.0 lets time go on inside a script: at the end of a period "*" could cross into the next one.
  local fixed = whole(now) .. '-*'
  if kind == 'none' or follows(fixed, stream_info(key)['last-generated-id']) then
    auto = fixed
  end
end
local id_slot = #words + 1
words[id_slot] = auto
for i = 1, shared do
  words[id_slot + 2 * i - 1] = ARGV[20 + i]
end

local source, at = ARGV, 21 + shared
local sizes, text, byte, sub = ARGV[at], ARGV[at + 1], string.byte, string.sub
local plain_pairs = given and shared == 2 and id_slot == 3
if packed and not plain_pairs then
  source = {}
  local from = 1
  for i = 1, #sizes do
    local next_from = from + byte(sizes, i)
    source[i], from = sub(text, from, next_from - 1), next_from
  end
  at = 1
end

-- Within a chunk IDs ascend, so only its first entry can be out of order, before anything is written.
local newest = nil
if given and kind == 'stream' then
  local last = stream_info(key)['last-generated-id']
  local first = packed and sub(text, 1, byte(sizes)) or ARGV[at]
  if not follows(first, last) then
    if not bump then
      return {'ORDER', last}
    end
    newest = last
  end
end

local function numbered(id)
  if newest and not follows(id, newest) then
    return newest:match('^%d+') .. '-*'
  end
  return id
end

local call, id = redis.call, nil
if packed and plain_pairs then
  -- The commonest shape, without a table: this loop is most of what an append costs the server.
  local a, b, from = ARGV[21], ARGV[22], 1
  for i = 1, 3 * count, 3 do
    local first, second, last = byte(sizes, i, i + 2)
    first = from + first
    second = first + second
    last = second + last
    id = sub(text, from, first - 1)
    if newest then
      id = numbered(id)
    end
    id = call('XADD', key, id, a, sub(text, first, second - 1), b, sub(text, second, last - 1))
    newest = newest and id
    from = last
  end
elseif plain_pairs and not newest then
  local a, b = ARGV[21], ARGV[22]
  for i = at, at + 3 * count - 1, 3 do
    id = call('XADD', key, source[i], a, source[i + 1], b, source[i + 2])
  end
else
  for _ = 1, count do
    if given then
      words[id_slot] = numbered(source[at])
      at = at + 1
    end
    if shared > 0 then
      for i = 1, shared do
        words[id_slot + 2 * i] = source[at + i - 1]
      end
      at = at + shared
      id = call(unpack(words))
    else
      local own, size = {unpack(words, 1, id_slot)}, tonumber(source[at])
      for i = 1, size do
        own[id_slot + i] = source[at + i]
      end
      at = at + size + 1
      id = call(unpack(own))
    end
    newest = newest and id
  end
end

if retention ~= '' then
  roll_expiry(key, id, ARGV[7], retention)
end
if strategy ~= '' then
  trim(key, strategy, ARGV[11], ARGV[12], ARGV[13])
end
if mode == 'chunk' then
  redis.call('ZADD', guard, whole(now), token)
  redis.call('ZREMRANGEBYSCORE', guard, '-inf', whole(now - tonumber(window)))
  redis.call('PEXPIRE', guard, window)
elseif mode == 'once' then
  redis.call('SET', guard, id, 'PX', window)
end
return {'OK', id}
