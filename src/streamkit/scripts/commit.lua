-- A checkpoint: if the hash is still this reader's, apply the effects, then save state and position.
-- KEYS: the hash, then the keys of the effects. ARGV: token, sequence before, sequence after; the number of words to
-- set and these; the number of fields to drop and these; the number of effects and these, as effects.lua takes them.
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

at = 4
local set = take_words({'HSET', key})
local drop = take_words({'HDEL', key})
local effects = take_effects()

require_permission('HSET', key, 'f', 'v')
require_permission('HDEL', key, 'f')

local refused = refuse_effects(effects) or apply_effects(effects)
if refused then
  return refused
end
if #drop > 2 then
  redis.call(unpack(drop))
end
set[#set + 1] = 'streamkit:sequence'
set[#set + 1] = ARGV[3]
redis.call(unpack(set))
return {'OK'}
