-- Effects: how a script reads them from its arguments, checks them before its first write, and applies them.
-- Each is one of
--   'emit', index of its key, ID, 'bump' or '', start and end of the partition, retention, max_ahead, trim strategy, operator,
--     threshold, limit, number of words, fields and values; or
--   'execute', index of its key, the type its key must have or '', number of words, the command.
-- Indices count from the first key of the effects, which stands behind `first_effect_key` others.
local at, first_effect_key = 1, 1

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

local function take_effects()
  local effects = {}
  for i = 1, tonumber(take()) do
    local kind = take()
    local target = KEYS[tonumber(take()) + first_effect_key]
    if kind == 'emit' then
      local effect = {target = target, id = take(), bump = take() == 'bump', first = tonumber(take()), last = tonumber(take()), retention = take(),
        max_ahead = take(), strategy = take(), operator = take(), threshold = take(), limit = take()}
      effect.words = take_words({'XADD', target, effect.id})
      effects.explicit = effects.explicit or effect.id ~= '*'
      effects[i] = effect
    else
      effects[i] = {target = target, needs = take(), words = take_words({})}
    end
  end
  return effects
end

-- Everything that can fail is checked before the first write: scripts do not roll back. Gives what to answer, or nil.
local function refuse_effects(effects)
  local newest, explicit = {}, effects.explicit
  for i, effect in ipairs(effects) do
    local found = type_of(effect.target)
    local needs = effect.id and 'stream' or effect.needs
    if needs ~= '' and found ~= 'none' and found ~= needs then
      return {'FAILED', i, 0, 'WRONGTYPE it holds a ' .. found .. ', not a ' .. needs}
    end
    local allowed, may = pcall(redis.acl_check_cmd, unpack(effect.words))
    local denied = not may and effect.words[1]
    if not denied and effect.id and effect.retention ~= '' then
      denied = not redis.acl_check_cmd('PEXPIRETIME', effect.target) and 'PEXPIRETIME'
        or not redis.acl_check_cmd('PEXPIREAT', effect.target, '0') and 'PEXPIREAT'
    end
    if not denied and effect.id and effect.strategy ~= '' then
      denied = not redis.acl_check_cmd('XTRIM', effect.target, 'MAXLEN', '0') and 'XTRIM'
    end
    if not allowed then
      return {'FAILED', i, 0, 'the server knows no such command'}
    elseif denied then
      return {'FAILED', i, 0, 'NOPERM the user may not run ' .. denied}
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
  return nil
end

-- Gives what to answer when one fails; those before it were applied.
local function apply_effects(effects)
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
  return nil
end
