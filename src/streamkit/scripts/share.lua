-- Share the shards of a stream among the members that are alive: renew what this member holds, take what nobody holds, up
-- to its share. KEYS: a hash, for people to read. ARGV: member, lease (ms), 'share' or 'leave', how many shards it gives
-- up and which, then all shards. Gives what it holds from now on, after the number it holds above its share.
local members, shares = 'member:', 'shard:'
local member, lease, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local kind = type_of(KEYS[1])
if kind ~= 'none' and kind ~= 'hash' then
  return {'TYPE', kind}
end
local fields = by_name(redis.call('HGETALL', KEYS[1]))
local gone = {}
for i = 5, 4 + count do
  gone[ARGV[i]] = true
end
-- What nobody has taken meanwhile is still its last holder's, also when its lease is over.
local function holder_of(shard)
  local owner, ends = (fields[shares .. shard] or ''):match('^(.*) until (%d+)$')
  if owner and (owner == member or tonumber(ends) > now) then
    return owner
  end
  return nil
end
local function hold(shard)
  redis.call('HSET', KEYS[1], shares .. shard, member .. ' until ' .. whole(now + lease))
end
local mine, free, held, all = {}, {}, {}, 0
for i = 5 + count, #ARGV do
  local shard, owner = ARGV[i], holder_of(ARGV[i])
  all = all + 1
  if owner == member and (gone[shard] or ARGV[3] == 'leave') then
    redis.call('HDEL', KEYS[1], shares .. shard)
    free[#free + 1] = shard
  elseif owner == member then
    mine[#mine + 1] = shard
  elseif owner then
    held[owner] = (held[owner] or 0) + 1
  else
    free[#free + 1] = shard
  end
end
if ARGV[3] == 'leave' then
  redis.call('HDEL', KEYS[1], members .. member)
  return {0}
end
local alive = 1
for field, ends in pairs(fields) do
  local other = field:sub(1, #members) == members and field:sub(#members + 1)
  if other and other ~= member then
    if tonumber(ends) > now then
      alive = alive + 1
    else
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
redis.call('HSET', KEYS[1], members .. member, whole(now + lease))
-- Everybody may hold the whole part of the quotient; as many as the rest is, one more.
local base, more = math.floor(all / alive), all % alive
for _, number in pairs(held) do
  if number > base then
    more = more - 1
  end
end
local limit = base + (more > 0 and 1 or 0)
for i = 1, #free do
  if #mine < limit and not gone[free[i]] then
    mine[#mine + 1] = free[i]
  end
end
local answer = {math.max(0, #mine - limit)}
for i = 1, #mine do
  hold(mine[i])
  answer[i + 1] = mine[i]
end
return answer
