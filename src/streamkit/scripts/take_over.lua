-- Take a page of what another consumer holds, whatever it is doing, and remove that consumer when nothing is left.
-- ARGV from 4: the other consumer, the size of the page. Gives dropped dead letters, how many were taken, whether it
-- was the last page.
local other, size = ARGV[4], tonumber(ARGV[5])
local page, taken = redis.call('XPENDING', key, group, '-', '+', size, other), 0
for _, pending in ipairs(page) do
  local id, _, _, deliveries = unpack(pending)
  if body_of(id) then
    hand_to(consumer, id, deliveries, 0)
    taken = taken + 1
  else
    check_letters()
    bury(id, provenance_of(id, 'trimmed', other, deliveries))
  end
end
if #page < size then
  redis.call('XGROUP', 'DELCONSUMER', key, group, other)
end
return {dropped, taken, #page < size and 1 or 0}
