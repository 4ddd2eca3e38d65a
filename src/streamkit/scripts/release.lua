-- Give entries back for peers to take, and leave the group if nothing else is ours.
-- ARGV from 4: the name that holds what was given back; 'leave' or ''; then for each entry its ID, its deliveries ('': as
-- it is) and for how long it is to count as idle. Gives dropped dead letters, how many were given back, whether we left.
local released = ARGV[4]
local given = 0
for i = 6, #ARGV, 3 do
  local id = ARGV[i]
  local owner, deliveries = holder_of(id)
  if owner == consumer then
    if body_of(id) then
      hand_to(released, id, ARGV[i + 1] == '' and deliveries or ARGV[i + 1], ARGV[i + 2])
      given = given + 1
    else
      check_letters()
      bury(id, provenance_of(id, 'trimmed', owner, deliveries))
    end
  end
end
local left = 0
if ARGV[5] == 'leave' and #redis.call('XPENDING', key, group, '-', '+', 1, consumer) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', key, group, consumer)
  left = 1
end
return {dropped, given, left}
