-- How things stand: put before each script that speaks of nodes. Numbers are written in full, because Lua has only doubles.
local C, N, P = 'sekisho:cluster', 'sekisho:nodes', 'sekisho:pins'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

-- A number that was never a term before, and greater than all of them.
local function new_term()
  local term = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('HGET', C, 'term') or '0')
  if term <= last then term = last + 1 end
  redis.call('HSET', C, 'term', whole(term), 'since', whole(now))
end

local function lease_is_live(alone, lease)
  return alone == '' or tonumber(lease or '0') > now
end

local function standing(node)
  local c = redis.call('HMGET', C, 'term', 'since', 'alone', 'lease', 'unsure')
  local all, mine, ahead, names = 1, 0, 0, {}
  local nodes = redis.call('HGETALL', N)
  for at = 1, #nodes, 2 do
    local off, written = string.match(nodes[at + 1], '^%S+ (%S+) (%S+)$')
    names[#names + 1] = nodes[at]
    if written ~= '1' then all = 0 end
    if nodes[at] == node and written == '1' then mine = 1 end
    if tonumber(off) > ahead then ahead = tonumber(off) end
  end
  local live = lease_is_live(c[3] or '', c[4]) and 1 or 0
  return {'ok', c[1], mine, all, live, c[2], whole(ahead), whole(now), redis.call('SCARD', P), c[5] or '0',
    table.concat(names, ' ')}
end
