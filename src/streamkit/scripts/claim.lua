-- Take over a page of what nobody is handling, without counting a delivery; what can't be handled is buried.
-- ARGV from 4: 'own' (what is ours and not in hand) or 'idle' (what others left), min_idle in ms, max_deliveries, where
-- to begin ('-' or '(ID'), size of the page, how many to take at most, then the IDs in hand.
-- Gives the number of dropped dead letters, where to go on ('': the end), what was taken (ID, deliveries, former
-- owner), what was buried (ID, cause).
local own, min_idle, max_deliveries = ARGV[4] == 'own', tonumber(ARGV[5]), tonumber(ARGV[6])
local from, size, room = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local in_hand = {}
for i = 10, #ARGV do
  in_hand[ARGV[i]] = true
end

local page
if own then
  page = redis.call('XPENDING', key, group, from, '+', size, consumer)
else
  page = redis.call('XPENDING', key, group, from, '+', size)
end
if #page > 0 then
  require_permission('XCLAIM', key, group, consumer, '0', '0-0')
end
local taken, buried, last = {}, {}, from
local complete = true
for _, pending in ipairs(page) do
  local id, owner, idle, deliveries = unpack(pending)
  if (own and not in_hand[id]) or (not own and owner ~= consumer and idle >= min_idle) then
    if #taken >= room then
      complete = false
      break
    end
    local fields = body_of(id)
    local cause = not fields and 'trimmed' or (deliveries >= max_deliveries and 'abandoned')
    if cause then
      check_letters()
      bury(id, provenance_of(id, cause, owner, deliveries), fields)
      buried[#buried + 1] = {id, cause}
    else
      hand_to(consumer, id, deliveries, 0)
      taken[#taken + 1] = {id, deliveries, owner}
    end
  end
  last = '(' .. id
end
return {dropped, (complete and #page < size) and '' or last, taken, buried}
