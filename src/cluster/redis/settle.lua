-- ARGV: term or '' while writing back, the node that may go on alone or '', number of keys that are read, these keys in the
--   order of the steps (slots, answer, note that is taken), then for each step:
--   five octets: number of slots, 1 if it has an answer, number of notes, 1 if it takes a note, 1 if it pins a source
--   for each slot: what is there ('' for nothing), what shall be there ('' to leave it)
--   the answer and its ms, for each note: key, note, ms, and the pinned source
-- What all steps read is read by one call before the first, and what they write is written behind the last: calls are what
-- costs here. In between `changed` says what the steps before have made of a key (false: they have taken it).
local term, alone, keys = ARGV[1], ARGV[2], tonumber(ARGV[3])
local c = redis.call('HMGET', C, 'term', 'alone', 'lease')
if not c[1] then return {'forgotten'} end
if term ~= '' then
  if c[1] ~= term or c[2] ~= alone then return {'term'} end
  if not lease_is_live(alone, c[3]) then return {'fenced'} end
end

-- Arguments of one call, or half of them: Lua's stack takes 8,000.
local PART = 1000
local read = {}
for from = 1, keys, PART do
  local upto = math.min(from + PART - 1, keys)
  local part = redis.call('MGET', unpack(ARGV, from + 3, upto + 3))
  if keys <= PART then read = part else for place, value in ipairs(part) do read[from + place - 1] = value end end
end
local changed, slots, notes, taken, pins = {}, {}, {}, {}, {}
local function holds(place)
  local value = changed[ARGV[place + 3]]
  if value == nil then return read[place] end
  return value
end
local function found(key, count)
  local values = {}
  for slot = 1, count do values[slot] = holds(key + slot) end
  return values
end

local answers, key, at, step = {'ok'}, 0, keys + 3, 1
while at < #ARGV do
  local slot_count, answer, note_count, takes, pin = string.byte(ARGV[at + 1], 1, 5)
  local first = at + 1
  local behind_slots = first + slot_count * 2
  local behind_answer = behind_slots + answer * 2
  local behind_notes = behind_answer + note_count * 3
  at, step = behind_notes + pin, step + 1

  local as_expected = true
  for slot = 1, slot_count do
    if (holds(key + slot) or '') ~= ARGV[first + slot * 2 - 1] then as_expected = false end
  end
  local answered = answer == 1 and holds(key + slot_count + 1)
  local gone = takes == 1 and not holds(key + slot_count + answer + 1)
  if answered then
    answers[step] = {2, answered, found(key, slot_count)}
  elseif gone then
    answers[step] = 3
  elseif not as_expected then
    answers[step] = {1, found(key, slot_count)}
  else
    for slot = 1, slot_count do
      local becomes = ARGV[first + slot * 2]
      if becomes ~= '' then
        local name = ARGV[key + slot + 3]
        slots[#slots + 1], slots[#slots + 2] = name, becomes
        changed[name] = becomes
      end
    end
    if takes == 1 then
      local name = ARGV[key + slot_count + answer + 4]
      taken[#taken + 1] = name
      changed[name] = false
    end
    if answer == 1 then
      local name = ARGV[key + slot_count + 4]
      notes[#notes + 1] = {name, ARGV[behind_slots + 1], ARGV[behind_slots + 2]}
      changed[name] = ARGV[behind_slots + 1]
    end
    for note = behind_answer + 1, behind_notes, 3 do
      notes[#notes + 1] = {ARGV[note], ARGV[note + 1], ARGV[note + 2]}
      changed[ARGV[note]] = ARGV[note + 1]
    end
    if pin == 1 then pins[#pins + 1] = ARGV[behind_notes + 1] end
    answers[step] = 0
  end
  key = key + slot_count + answer + takes
end

for from = 1, #slots, PART do redis.call('MSET', unpack(slots, from, math.min(from + PART - 1, #slots))) end
for _, name in ipairs(taken) do
  if changed[name] == false then redis.call('DEL', name) end
end
for _, note in ipairs(notes) do
  if changed[note[1]] == note[2] then redis.call('SET', note[1], note[2], 'PX', note[3]) end
end
for _, source in ipairs(pins) do redis.call('SADD', P, source) end
return answers
