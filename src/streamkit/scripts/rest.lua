-- Bury a page of whatever a partition still holds for the group. ARGV from 4: the size of the page. Gives dropped dead
-- letters, and how many were buried; none: it is empty.
local size, buried = tonumber(ARGV[4]), 0
check_letters()
for _, pending in ipairs(redis.call('XPENDING', key, group, '-', '+', size)) do
  local id, owner, _, deliveries = unpack(pending)
  bury(id, provenance_of(id, 'expired', owner, deliveries), body_of(id))
  buried = buried + 1
end
local fresh = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', size, 'STREAMS', key, '>')
if fresh then
  for _, entry in ipairs(fresh[1][2]) do
    bury(entry[1], provenance_of(entry[1], 'expired', consumer, 0), entry[2])
    buried = buried + 1
  end
end
return {dropped, buried}
