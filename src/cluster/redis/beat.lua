-- ARGV: node, its wall clock in ms, the node that may go on alone or '', lease in ms, identity of the server, 1 if written,
--   the server's clock at its last answer
local node, wall, alone, lease, run, wrote = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local c = redis.call('HMGET', C, 'run', 'term', 'alone', 'lease')
local entry = redis.call('HGET', N, node)
if c[1] ~= run or not c[2] or not entry then return {'forgotten'} end
if c[3] ~= alone then return {'differs', c[3]} end
local written = string.match(entry, '(%S+)$')
-- What has lain in a buffer for long says nothing: whoever sent it may have given up and gone on alone.
if wrote == '1' and now > tonumber(ARGV[7]) + lease then return {'forgotten'} end
if wrote == '1' then written = '1' end
if alone == node and alone ~= '' then
  -- A lease that has run out is not renewed by a beat that was late: its holder may have been on its own since.
  if wrote ~= '1' and written == '1' and not lease_is_live(alone, c[4]) then return {'forgotten'} end
  if written == '1' then redis.call('HSET', C, 'lease', whole(now + lease)) end
end
redis.call('HSET', N, node, whole(now) .. ' ' .. whole(wall - now) .. ' ' .. written)
return standing(node)
