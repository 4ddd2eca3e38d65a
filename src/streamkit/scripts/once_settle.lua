-- Mark the run of a handler for an entry as done, or give the claim back.
-- KEYS: the guard of handler and entry. ARGV: token; the window in ms for which 'done' is remembered, '' to give back.
local key, token, window = KEYS[1], ARGV[1], ARGV[2]
if window ~= '' then
  -- Whoever holds the guard by now: this run was carried through.
  redis.call('SET', key, 'done', 'PX', window)
elseif redis.call('GET', key) == token then
  -- An expiry that is past deletes it, without the right to one more command.
  redis.call('SET', key, token, 'PXAT', 1)
end
return {'OK'}
