-- ARGV: node, its wall clock in ms, the node that may go on alone or '', lease in ms, identity of the server process,
--   (two for beats), all nodes that it has heard of, 1 if it has marks
local node, wall, alone, run = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[5]
local c = redis.call('HMGET', C, 'run', 'term', 'alone', 'lease')
local doubt = false

-- Who holds the lease may change only while it is not live, or by the word of its holder: it could be on its own.
if c[3] and c[3] ~= alone then
  if c[3] ~= '' and c[3] ~= node and lease_is_live(c[3], c[4]) then return {'differs', c[3]} end
  redis.call('HSET', C, 'alone', alone, 'lease', '0')
  c[4] = '0'
elseif not c[3] then
  redis.call('HSET', C, 'alone', alone, 'lease', '0')
  c[4] = '0'
end

-- Another process than before: it may have forgotten what the nodes know.
if c[1] ~= run or not c[2] then
  local nodes = redis.call('HGETALL', N)
  for at = 1, #nodes, 2 do
    local seen, off = string.match(nodes[at + 1], '^(%S+) (%S+) ')
    redis.call('HSET', N, nodes[at], seen .. ' ' .. off .. ' 0')
  end
  redis.call('HSET', C, 'run', run)
  doubt = true
end

-- Empty: who took part is known from the nodes alone. One that has marks and knows of nobody may not be the only one.
if not c[2] then
  for name in string.gmatch(ARGV[8], '%S+') do
    if redis.call('HEXISTS', N, name) == 0 then redis.call('HSET', N, name, whole(now) .. ' 0 0') end
  end
  if ARGV[9] == '1' and ARGV[8] == '' then redis.call('HSET', C, 'unsure', whole(now)) end
end

local entry = redis.call('HGET', N, node)
local written = entry and string.match(entry, '(%S+)$') or false
if not written then
  written, doubt = '0', true
end
-- The holder of a lease that has run out may have been on its own.
if alone ~= '' and alone == node and not lease_is_live(alone, c[4]) and written == '1' then
  written, doubt = '0', true
end
redis.call('HSET', N, node, whole(now) .. ' ' .. whole(wall - now) .. ' ' .. written)
if doubt then new_term() end
return standing(node)
