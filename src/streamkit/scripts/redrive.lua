-- Move dead letters back to streams, each a step of its own: if it is still there, append its fields and delete it.
-- KEYS: the dead letters; for each target its stream, and the zset that remembers how often entries were moved back.
-- ARGV: 'dry' (look, write nothing) or ''; how long that is remembered, in ms; the number of targets; for each 'create'
-- or '', start and end of the partition, retention, max_ahead, trim strategy, operator, threshold, limit; then for each
-- letter its ID and the number of its target.
-- Gives what became of each letter: 'MOVED', 'GONE' (not there any more), 'NONE' (its target does not exist), 'EMPTY'
-- (it has no fields), or the error of its XADD.
local letters, dry, memory = KEYS[1], ARGV[1] == 'dry', tonumber(ARGV[2])
local targets, at = {}, 4
for i = 1, tonumber(ARGV[3]) do
  targets[i] = {key = KEYS[2 * i], redrives = KEYS[2 * i + 1], create = ARGV[at] == 'create', first = tonumber(ARGV[at + 1]),
    last = tonumber(ARGV[at + 2]), retention = ARGV[at + 3], strategy = ARGV[at + 5], operator = ARGV[at + 6],
    threshold = ARGV[at + 7], limit = ARGV[at + 8]}
  at = at + 9
end

-- Everything that can fail is checked before the first write: scripts do not roll back.
local kind = type_of(letters)
if kind ~= 'none' and kind ~= 'stream' then
  return {'TYPE', letters, kind}
end
require_permission('XDEL', letters, '0')
for _, target in ipairs(targets) do
  kind = type_of(target.key)
  if kind ~= 'none' and kind ~= 'stream' then
    return {'TYPE', target.key, kind}
  end
  kind = type_of(target.redrives)
  if kind ~= 'none' and kind ~= 'zset' then
    return {'RECORD', target.redrives, kind}
  end
  if target.first and (now < target.first or now >= target.last) then
    return {'PERIOD', whole(now)}
  end
  require_permission('XADD', target.key, '*', 'f', 'v')
  require_permission('ZADD', target.redrives, '0', 'id')
  require_permission('ZREMRANGEBYSCORE', target.redrives, '-inf', '0')
  require_permission('PEXPIRE', target.redrives, '1')
  if target.retention ~= '' then
    require_permission('PEXPIRETIME', target.key)
    require_permission('PEXPIREAT', target.key, '0')
  end
  if target.strategy ~= '' then
    require_permission('XTRIM', target.key, 'MAXLEN', '0')
  end
end

-- Where the untouched fields begin, and how often the letter was moved back before.
local function provenance_of(flat)
  local redrives = 0
  for i = 1, #flat, 2 do
    if flat[i] == 'streamkit:at' then
      return i + 2, redrives
    elseif flat[i] == 'streamkit:redrives' then
      redrives = tonumber(flat[i + 1]) or 0
    end
  end
  return #flat + 1, redrives
end

local function move(id, target)
  local found = redis.call('XRANGE', letters, id, id)[1]
  if not found then
    return 'GONE'
  end
  local first, redrives = provenance_of(found[2])
  if first > #found[2] then
    return 'EMPTY'
  elseif not target.create and redis.call('EXISTS', target.key) == 0 then
    return 'NONE'
  elseif dry then
    return 'MOVED'
  end
  local words = {'XADD', target.key, '*'}
  for i = first, #found[2] do
    words[#words + 1] = found[2][i]
  end
  if #words > 7900 then
    return 'ERR it has more fields than a script can write'
  end
  local added = redis.pcall(unpack(words))
  if type(added) == 'table' then
    return added.err
  end
  if target.retention ~= '' then
    roll_expiry(target.key, added, target.last, target.retention)
  end
  if target.strategy ~= '' then
    trim(target.key, target.strategy, target.operator, target.threshold, target.limit)
  end
  -- The time and the count in one score: old ones can be dropped by it.
  redis.call('ZADD', target.redrives, whole(now * 1000 + math.min(redrives + 1, 999)), added)
  redis.call('ZREMRANGEBYSCORE', target.redrives, '-inf', whole((now - memory) * 1000))
  redis.call('PEXPIRE', target.redrives, whole(memory))
  redis.call('XDEL', letters, id)
  return 'MOVED'
end

local outcomes = {}
for i = at, #ARGV, 2 do
  outcomes[#outcomes + 1] = move(ARGV[i], targets[tonumber(ARGV[i + 1])])
end
return {'OK', unpack(outcomes)}
