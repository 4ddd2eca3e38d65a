-- A checkpoint: if the hash is still this reader's, apply the effects, then save state and position.
-- KEYS: the hash, then the keys of the effects. ARGV: token, sequence before, sequence after; the number of words to
-- set and these; the number of fields to drop and these; the number of effects and these, each as
--   'emit', index of its key, ID, 'bump' or '', start and end of the partition, retention, max_ahead, trim strategy, operator,
--     threshold, limit, number of words, fields and values; or
--   'execute', index of its key, the type its key must have or '', number of words, the command.
local key, token = KEYS[1], ARGV[1]
local before, after = tonumber(ARGV[2]), tonumber(ARGV[3])

local held = redis.call('HMGET', key, 'streamkit:token', 'streamkit:sequence')
local sequence = tonumber(held[2] or '')
if not sequence then
  return {'REWOUND'}
elseif held[1] == token then
  if sequence == after then
    return {'OK'}
  elseif sequence < before then
    return {'REWOUND'}
  elseif sequence ~= before then
    return {'CONFLICT'}
  end
elseif sequence >= before then
  return {'CONFLICT'}
else
  return {'REWOUND'}
end

local at = 4
local function take()
  at = at + 1
  return ARGV[at - 1]
end
local function take_words(into)
  local size = tonumber(take())
  local offset = #into
  for i = 1, size do
    into[offset + i] = ARGV[at]
    at = at + 1
  end
  return into
end

local set = take_words({'HSET', key})
local drop = take_words({'HDEL', key})
local effects, explicit = {}, false
for i = 1, tonumber(take()) do
  local kind = take()
  local target = KEYS[tonumber(take()) + 1]
  if kind == 'emit' then
    local effect = {target = target, id = take(), bump = take() == 'bump', first = tonumber(take()), last = tonumber(take()), retention = take(),
      max_ahead = take(), strategy = take(), operator = take(), threshold = take(), limit = take()}
    effect.words = take_words({'XADD', target, effect.id})
    explicit = explicit or effect.id ~= '*'
    effects[i] = effect
  else
    effects[i] = {target = target, needs = take(), words = take_words({})}
  end
end

require_permission('HSET', key, 'f', 'v')
require_permission('HDEL', key, 'f')

-- Everything that can fail is checked before the first write: scripts do not roll back.
local newest = {}
for i, effect in ipairs(effects) do
  local found = type_of(effect.target)
  local needs = effect.id and 'stream' or effect.needs
  if needs ~= '' and found ~= 'none' and found ~= needs then
    return {'FAILED', i, 0, 'WRONGTYPE it holds a ' .. found .. ', not a ' .. needs}
  end
  local allowed, may = pcall(redis.acl_check_cmd, unpack(effect.words))
  if allowed and may and effect.id then
    may = (effect.retention == '' or redis.acl_check_cmd('PEXPIREAT', effect.target, '0'))
      and (effect.strategy == '' or redis.acl_check_cmd('XTRIM', effect.target, 'MAXLEN', '0'))
  end
  if not allowed then
    return {'FAILED', i, 0, 'the server knows no such command'}
  elseif not may then
    return {'FAILED', i, 0, 'NOPERM the user may not run it'}
  end
  local last = newest[effect.target]
  if effect.id and explicit and not last then
    last = found == 'none' and '0-0' or stream_info(effect.target)['last-generated-id']
  end
  if effect.id and effect.id ~= '*' then
    if not follows(effect.id, last) and effect.bump then
      effect.id = last:match('^%d+') .. '-*'
      effect.words[3] = effect.id
    elseif not follows(effect.id, last) then
      return {'FAILED', i, 0, 'ID ' .. effect.id .. ' is not above ' .. last .. ', the newest entry'}
    end
    -- Which number "ms-*" takes is the server's to say: behind it only "-*" or a later time is safe.
    newest[effect.target] = effect.id:gsub('%*', '18446744073709551615')
    if effect.retention and effect.retention ~= '' then
      local refused = refuse_time(tonumber(effect.id:match('^%d+')), effect.retention, effect.max_ahead)
      if refused then
        return {'FAILED', i, 0, refused == 'OLD' and 'older than its retention' or 'further ahead than max_ahead'}
      end
    end
  elseif effect.first and (now < effect.first or now >= effect.last) then
    return {'PERIOD', whole(now)}
  elseif effect.id and explicit then
    local ms = last:match('^%d+')
    newest[effect.target] = (below(ms, whole(now)) and whole(now) or ms) .. '-18446744073709551615'
  end
end

for i, effect in ipairs(effects) do
  local reply = redis.pcall(unpack(effect.words))
  if type(reply) == 'table' and reply.err then
    return {'FAILED', i, i - 1, reply.err}
  end
  if effect.id then
    if effect.retention ~= '' then
      roll_expiry(effect.target, reply, effect.last, effect.retention)
    end
    if effect.strategy ~= '' then
      trim(effect.target, effect.strategy, effect.operator, effect.threshold, effect.limit)
    end
  end
end
if #drop > 2 then
  redis.call(unpack(drop))
end
set[#set + 1] = 'streamkit:sequence'
set[#set + 1] = ARGV[3]
redis.call(unpack(set))
return {'OK'}
