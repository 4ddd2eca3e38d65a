-- What the scripts of a consumer group share.
-- KEYS: the stream, its dead letters, the record of what was moved back from there. ARGV: group, consumer, the cap of
-- the dead letters; then each script's own, from ARGV[4].
local key, letters, redrives = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, letters_maxlen = ARGV[1], ARGV[2], ARGV[3]
local dropped = 0

-- Who holds a pending entry, how often it was delivered and how long ago; nil if it is not pending.
local function holder_of(id)
  local found = redis.call('XPENDING', key, group, id, id, 1)[1]
  if found then
    return found[2], found[4], found[3]
  end
  return nil
end

local function body_of(id)
  local found = redis.call('XRANGE', key, id, id)[1]
  return found and found[2]
end

-- Hand an entry over as it is: its body was looked at before, since XCLAIM forgets pending entries without one.
local function hand_to(owner, id, deliveries, idle)
  redis.call('XCLAIM', key, group, owner, 0, id, 'IDLE', idle, 'RETRYCOUNT', deliveries, 'JUSTID')
end

local function check_letters()
  local kind = type_of(letters)
  if kind ~= 'none' and kind ~= 'stream' then
    error({err = 'WRONGTYPE the dead letters ' .. letters .. ' hold a ' .. kind})
  end
  require_permission('XADD', letters, '*', 'f', 'v')
  require_permission('ZSCORE', redrives, 'id')
  require_permission('XACK', key, group, '0-0')
end

-- A dead letter: provenance, then the fields untouched. What fails, fails before the entry is acked.
local function write_letter(id, provenance, fields)
  local words = {'XADD', letters, 'MAXLEN', '~', letters_maxlen, '*', unpack(provenance)}
  local moved = id and redis.pcall('ZSCORE', redrives, id)
  if moved and type(moved) ~= 'table' then
    words[#words + 1] = 'streamkit:redrives'
    words[#words + 1] = whole(tonumber(moved) % 1000)
  end
  words[#words + 1] = 'streamkit:at'
  words[#words + 1] = whole(now)
  for i = 1, #fields do
    words[#words + 1] = fields[i]
  end
  local before = redis.call('XLEN', letters)
  redis.call(unpack(words))
  dropped = dropped + before + 1 - redis.call('XLEN', letters)
end

local function bury(id, provenance, fields)
  write_letter(id, provenance, fields or {})
  redis.call('XACK', key, group, id)
end

local function provenance_of(id, cause, owner, deliveries)
  return {'streamkit:stream', key, 'streamkit:id', id, 'streamkit:cause', cause, 'streamkit:group', group,
    'streamkit:consumer', owner, 'streamkit:attempt', deliveries}
end

-- What XINFO says of this group.
local function group_info()
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local facts = by_name(each)
    if facts['name'] == group then
      return facts
    end
  end
  return nil
end
