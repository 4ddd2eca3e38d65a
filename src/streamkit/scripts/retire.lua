-- Remove consumers that hold nothing and have not been heard of for long. ARGV from 4: that long, in ms. Gives their names.
local removed = {}
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', key, group)) do
  local facts = by_name(each)
  if facts['name'] ~= consumer and facts['pending'] == 0 and facts['idle'] > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', key, group, facts['name'])
    removed[#removed + 1] = facts['name']
  end
end
return removed
