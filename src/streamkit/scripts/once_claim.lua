-- Claim the one run of a handler for an entry.
-- KEYS: the guard of handler and entry: the token of the run that holds it, or 'done'. ARGV: token; lease in ms.
-- Gives 'OK', 'DONE', or 'HELD' with the rest of the other run's lease in ms.
local key, token, lease = KEYS[1], ARGV[1], ARGV[2]
local kind = type_of(key)
if kind ~= 'none' and kind ~= 'string' then
  return {'TYPE', kind}
end
local holder = redis.call('GET', key)
if holder == 'done' then
  return {'DONE'}
elseif holder and holder ~= token then
  return {'HELD', redis.call('PTTL', key)}
end
redis.call('SET', key, token, 'PX', lease)
return {'OK'}
