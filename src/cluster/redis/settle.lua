-- ARGV: term or '' while writing back, the node that may go on alone or '', number of steps, then for each step:
--   number of slots, for each: key, what is there ('' for nothing), what shall be there ('' to leave it)
--   key of the answer ('' for none), the answer, ms
--   number of notes, for each: key, note, ms
--   key of the note that is taken ('' for none)
--   pinned source ('' for none)
local at = 0
local function take() at = at + 1; return ARGV[at] end

local term, alone = take(), take()
local c = redis.call('HMGET', C, 'term', 'alone', 'lease')
if not c[1] then return {'forgotten'} end
if term ~= '' then
  if c[1] ~= term or c[2] ~= alone then return {'term'} end
  if not lease_is_live(alone, c[3]) then return {'fenced'} end
end

local answers = {'ok'}
for step = 1, tonumber(take()) do
  local slots, answer, notes = {}, nil, {}
  for slot = 1, tonumber(take()) do slots[slot] = {'sekisho:' .. take(), take(), take()} end
  local key, octets, lasts = take(), take(), take()
  if key ~= '' then answer = {'sekisho:' .. key, octets, lasts} end
  for note = 1, tonumber(take()) do notes[note] = {'sekisho:' .. take(), take(), take()} end
  local taken, pin = take(), take()

  local found, as_expected = {}, true
  for slot, wanted in ipairs(slots) do
    found[slot] = redis.call('GET', wanted[1])
    if (found[slot] or '') ~= wanted[2] then as_expected = false end
  end
  local before = answer and redis.call('GET', answer[1])
  if before then
    answers[step + 1] = {2, before, found}
  elseif taken ~= '' and redis.call('EXISTS', 'sekisho:' .. taken) == 0 then
    answers[step + 1] = {3}
  elseif not as_expected then
    answers[step + 1] = {1, found}
  else
    for _, wanted in ipairs(slots) do
      if wanted[3] ~= '' then redis.call('SET', wanted[1], wanted[3]) end
    end
    if taken ~= '' then redis.call('DEL', 'sekisho:' .. taken) end
    if answer then redis.call('SET', answer[1], answer[2], 'PX', answer[3]) end
    for _, note in ipairs(notes) do redis.call('SET', note[1], note[2], 'PX', note[3]) end
    if pin ~= '' then redis.call('SADD', P, pin) end
    answers[step + 1] = {0}
  end
end
return answers
