-- A heartbeat: what is held and still ours is fresh again, and what a read on its way was given. ARGV from 4: behind
-- which ID that read is ('-' or '(ID'; '': none is on its way), how many it asked for, then IDs. Gives those that others
-- hold, and those not pending any more. An entry whose body is gone is left to age: XCLAIM would forget it.
local kept, lost, gone = {}, {}, {}
if ARGV[4] ~= '' then
  for _, pending in ipairs(redis.call('XPENDING', key, group, ARGV[4], '+', ARGV[5], consumer)) do
    if body_of(pending[1]) then
      kept[#kept + 1] = pending[1]
    end
  end
end
for i = 6, #ARGV do
  local owner = holder_of(ARGV[i])
  if not owner then
    gone[#gone + 1] = ARGV[i]
  elseif owner ~= consumer then
    lost[#lost + 1] = ARGV[i]
  elseif body_of(ARGV[i]) then
    kept[#kept + 1] = ARGV[i]
  end
end
for i = 1, #kept, 1000 do
  local words = {'XCLAIM', key, group, consumer, 0, unpack(kept, i, math.min(i + 999, #kept))}
  words[#words + 1] = 'JUSTID'
  redis.call(unpack(words))
end
return {lost, gone}
