-- Most calls end here, before the rest is even set up. ARGV[4]: what this consumer read last, or ''. While it is still
-- there, nothing behind it was trimmed.
if ARGV[4] ~= '' and redis.call('XRANGE', KEYS[1], ARGV[4], ARGV[4])[1] then
  return {0, 0}
end
