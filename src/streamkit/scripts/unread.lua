-- Record entries that were trimmed before the group was given them: their number and span, as one dead letter, once.
-- Gives dropped dead letters, how many were lost, and the IDs between which they stood.
local info, mine = stream_info(key), group_info()
if not mine or mine['last-delivered-id'] == info['last-generated-id'] and mine['entries-read'] then
  return {0, 0}
end
local read, cursor, first = mine['entries-read'], mine['last-delivered-id'], info['first-entry'] and info['first-entry'][1]
local removed = info['entries-added'] - info['length']
if not read then
  if cursor == '0-0' then
    -- New, at the beginning: what is gone by now it was never to have; what goes from now on counts.
    redis.call('XGROUP', 'SETID', key, group, cursor, 'ENTRIESREAD', whole(removed))
  end
  return {0, 0}
end
-- Entries deleted one by one make the count of those removed in front of the first one uncertain: nothing is claimed.
local holes = first and follows(info['max-deleted-entry-id'], first)
if (first and not follows(first, cursor)) or holes or removed <= read then
  return {0, 0}
end
check_letters()
require_permission('XGROUP', 'SETID', key, group, cursor)
local last = first or info['last-generated-id']
write_letter(nil, {'streamkit:stream', key, 'streamkit:cause', 'unread', 'streamkit:group', group, 'streamkit:count',
  whole(removed - read), 'streamkit:first', cursor, 'streamkit:last', last}, {})
redis.call('XGROUP', 'SETID', key, group, cursor, 'ENTRIESREAD', whole(removed))
return {dropped, removed - read, cursor, last}
