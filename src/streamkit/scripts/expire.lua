-- Give a partition that another program wrote without expiry the one it should have.
-- KEYS: the partition. ARGV: retention in ms. Returns how many entries went, if that expiry was past.
local key = KEYS[1]
local kind = type_of(key)
if kind == 'none' then
  return {'OK', '0'}
elseif kind ~= 'stream' then
  return {'TYPE', kind}
elseif redis.call('PEXPIRETIME', key) ~= -1 then
  return {'OK', '0'}
end
local length = redis.call('XLEN', key)
redis.call('PEXPIREAT', key, whole(tonumber(stream_info(key)['last-generated-id']:match('^%d+')) + tonumber(ARGV[1])))
return {'OK', whole(redis.call('EXISTS', key) == 1 and 0 or length)}
