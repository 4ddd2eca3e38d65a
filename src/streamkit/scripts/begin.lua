-- Count a delivery, just before the handler starts, of an entry that is pending and ours; gives its body.
-- ARGV from 4: its ID. Gives dropped dead letters, then 'OK', deliveries and fields; or 'GONE'; 'LOST', owner; 'TRIMMED'.
local id = ARGV[4]
local owner, deliveries = holder_of(id)
if not owner then
  return {0, 'GONE'}
elseif owner ~= consumer then
  return {0, 'LOST', owner}
end
local fields = body_of(id)
if not fields then
  check_letters()
  bury(id, provenance_of(id, 'trimmed', owner, deliveries))
  return {dropped, 'TRIMMED'}
end
hand_to(consumer, id, deliveries + 1, 0)
return {0, 'OK', deliveries + 1, fields}
