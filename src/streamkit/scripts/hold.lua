-- Keep a partition that the group has not done with from expiring, up to a limit. ARGV from 4: end of the partition,
-- retention, max_hold, for how long it is held each time (ms). Gives 'NONE' (no such key), 'DONE', 'HELD' or 'OVER'.
local partition_end, retention = tonumber(ARGV[4]), tonumber(ARGV[5])
local max_hold, margin = tonumber(ARGV[6]), tonumber(ARGV[7])
if type_of(key) == 'none' then
  return {'NONE'}
end
local info = stream_info(key)
local pending = redis.call('XPENDING', key, group)
local unhandled = pending[1] > 0
  or #redis.call('XRANGE', key, '(' .. group_info()['last-delivered-id'], '+', 'COUNT', 1) > 0
if not unhandled then
  return {'DONE'}
end
-- One that never expires, or not yet, is nothing to give up.
local expiry = redis.call('PEXPIRETIME', key)
if expiry < 0 or expiry >= now + margin then
  return {'HELD'}
end
redis.call('PEXPIREAT', key, whole(now + margin))
local newest = math.min(tonumber(info['last-generated-id']:match('^%d+')), partition_end)
return {now >= newest + retention + max_hold and 'OVER' or 'HELD'}
