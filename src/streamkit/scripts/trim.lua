-- Trim a stream to its bound, but nothing that some group of it has not handled.
-- KEYS: the stream. ARGV: strategy, operator, threshold (a length, or an age in ms), limit or ''; how many entries
-- that are held back to look at.
-- Gives how many entries were removed, how many beyond the bound were held back, and the groups that did.
local key = KEYS[1]
local strategy, exact, limit, most = ARGV[1], ARGV[2] == '=', ARGV[4], tonumber(ARGV[5])
local page = 100

local kind = type_of(key)
if kind == 'none' then
  return {'OK', 0, 0}
elseif kind ~= 'stream' then
  return {'TYPE', kind}
end
require_permission('XTRIM', key, 'MAXLEN', '0')

local function first_entry(from)
  local found = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
  return found and found[1]
end

-- The oldest ID that a group still needs; nil: it has handled everything.
local function needed_by(info)
  local first = first_entry('(' .. info['last-delivered-id'])
  local pending = redis.call('XPENDING', key, info['name'])[2]
  if pending and (not first or follows(first, pending)) then
    return pending
  end
  return first
end

local needs, held = {}, nil
for _, each in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local info = by_name(each)
  local id = needed_by(info)
  if id then
    needs[#needs + 1] = {name = info['name'], id = id}
    held = (not held or follows(held, id)) and id or held
  end
end
if not held then
  return {'OK', trim(key, strategy, ARGV[2], ARGV[3], limit), 0}
end

-- Entries in a range, up to so many, and the ID of the last; in pages, since they may be large.
local function count(from, to, up_to)
  local found, last = 0, nil
  while found < up_to do
    local entries = redis.call('XRANGE', key, last and '(' .. last or from, to, 'COUNT', math.min(page, up_to - found))
    found = found + #entries
    last = #entries > 0 and entries[#entries][1] or last
    if #entries < page then
      break
    end
  end
  return found, last
end

local removed, back, newest_back = 0, 0, nil
if strategy == 'MINID' then
  local bound = whole(math.max(0, now - tonumber(ARGV[3])))
  local behind = follows(bound .. '-0', held)
  local cut = behind and held or bound
  if limit == '' then
    removed = redis.call('XTRIM', key, 'MINID', ARGV[2], cut)
  else
    removed = redis.call('XTRIM', key, 'MINID', ARGV[2], cut, 'LIMIT', limit)
  end
  if behind then
    back, newest_back = count(held, '(' .. bound .. '-0', most)
  end
else
  local over = redis.call('XLEN', key) - tonumber(ARGV[3])
  if over <= 0 then
    return {'OK', 0, 0}
  end
  -- Whole nodes first, never more than are over: a limit does that, and a server's own is 100 nodes.
  local least = over
  if not exact and limit ~= '0' then
    least = math.min(over, tonumber(limit) or 10000)
  end
  removed = redis.call('XTRIM', key, 'MINID', '~', held, 'LIMIT', whole(least))
  -- What is left to remove lies in one node, more or less.
  while exact and removed < over do
    local size = math.min(page, over - removed)
    local entries = redis.call('XRANGE', key, '-', '+', 'COUNT', size + 1)
    local cut = entries[size + 1] and follows(held, entries[size + 1][1]) and entries[size + 1][1] or held
    local gone = redis.call('XTRIM', key, 'MINID', '=', cut)
    removed = removed + gone
    if gone < size then
      break
    end
  end
  -- What an approximate trim leaves in front of what is needed, nobody holds back.
  local spared = exact and 0 or count('-', '(' .. held, math.min(over - removed, most))
  if spared < most then
    back = over - removed - spared
    newest_back = select(2, count(held, '+', math.min(back, most)))
  end
end

local reply = {'OK', removed, back}
if back > 0 then
  table.sort(needs, function(a, b)
    if a.id == b.id then
      return a.name < b.name
    end
    return follows(b.id, a.id)
  end)
  for _, need in ipairs(needs) do
    if not follows(need.id, newest_back) then
      reply[#reply + 1] = need.name
    end
  end
end
return reply
