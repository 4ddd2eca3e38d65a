-- Most calls end here, before the rest is even set up: while some entry up to the group's cursor is still there, nothing
-- behind the cursor was trimmed.
for _, facts in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if facts[2] == ARGV[1] and facts[7] == 'last-delivered-id' and
    redis.call('XRANGE', KEYS[1], '-', facts[8], 'COUNT', 1)[1] then
    return {0, 0}
  end
end
