-- Take over a checkpoint: from here on only the reader with this token can save to it.
-- KEYS: the hash. ARGV: token, 'take' or 'retake', the sequence this reader last knew, then the fields of a first
-- position, used if none is saved.
local key = KEYS[1]
local token, expected = ARGV[1], tonumber(ARGV[3])
local kind = type_of(key)
if kind ~= 'none' and kind ~= 'hash' then
  return {'TYPE', kind}
end
local held = redis.call('HMGET', key, 'streamkit:token', 'streamkit:sequence', 'last_message_id')
local sequence = tonumber(held[2] or '0')
if ARGV[2] == 'retake' and held[1] and held[1] ~= token and sequence >= expected then
  return {'CONFLICT'}
end
if not held[3] then
  if #ARGV == 3 then
    return {'EMPTY'}
  end
  redis.call('HSET', key, unpack(ARGV, 4))
end
-- Never below the clock: a hash made anew is then newer than any reader that knew the old one.
sequence = math.max(sequence + 1, tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
redis.call('HSET', key, 'streamkit:token', token, 'streamkit:sequence', whole(sequence))
return {'OK', whole(sequence), redis.call('HGETALL', key)}
