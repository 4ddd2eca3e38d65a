-- Settle entries, each a step of its own: if it is still pending and ours, apply its effects, then ack it or bury it.
-- KEYS behind the group's: those of the effects. ARGV from 4: 'delete' or ''; number of entries; for each its ID, the
-- number of words of its provenance and these (none: it is acked), and its effects as effects.lua takes them.
-- Gives the number of dead letters that the cap dropped, then for each entry what became of it.
at, first_effect_key = 6, 3
local delete = ARGV[4] == 'delete'

-- Whether every other group is done with an entry, so that it may be deleted with its ack.
local function unneeded(id)
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local info = by_name(each)
    if info['name'] ~= group then
      if follows(id, info['last-delivered-id']) or #redis.call('XPENDING', key, info['name'], id, id, 1) > 0 then
        return false
      end
    end
  end
  return true
end

local function settle(id, provenance, effects)
  local owner = holder_of(id)
  if not owner then
    return {'GONE'}
  elseif owner ~= consumer then
    return {'LOST', owner}
  end
  local refused = refuse_effects(effects) or apply_effects(effects)
  if refused then
    return refused
  end
  if #provenance > 0 then
    check_letters()
    bury(id, provenance, body_of(id))
  else
    redis.call('XACK', key, group, id)
  end
  if delete and unneeded(id) then
    redis.call('XDEL', key, id)
  end
  return {'OK'}
end

-- Effects come before the ack: without the right to that they would be applied again.
require_permission('XACK', key, group, '0-0')
if delete then
  require_permission('XINFO', 'GROUPS', key)
  require_permission('XDEL', key, '0-0')
end

local outcomes = {0}
for i = 1, tonumber(ARGV[5]) do
  local id = take()
  local provenance = take_words({})
  outcomes[i + 1] = settle(id, provenance, take_effects())
end
outcomes[1] = dropped
return outcomes
