-- The tables and functions of the shared engine, made by the first node that connects. Everything that decides runs
-- under one lock, which is held until the commit is as durable as the server makes it: no two steps are ever judged by
-- what the other has not written yet. Times are milliseconds since 1970 by the server's clock.
create schema if not exists sekisho;
comment on schema sekisho is 'sekisho 4';

create table if not exists sekisho.slot (key bytea primary key, value bytea not null);
-- Room for a mark beside the one that it replaces: then the index need not be touched.
alter table sekisho.slot set (fillfactor = 70);
create table if not exists sekisho.pin (source text primary key);
create table if not exists sekisho.node (
  name text primary key, seen bigint not null, ahead bigint not null, written boolean not null);
create table if not exists sekisho.cluster (
  one boolean primary key default true check (one), run text not null, term bigint not null, since bigint not null,
  alone text not null, lease bigint not null);
alter table sekisho.cluster add column if not exists unsure bigint not null default 0;
drop function if exists sekisho.hello(text, bigint, text, text);
drop function if exists sekisho.beat(text, bigint, text, bigint, text, boolean, bigint);
drop function if exists sekisho.standing(text, bigint);
-- What is short-lived need not survive a crash of the server: who has lost it is refused, never let in.
create unlogged table if not exists sekisho.note (key bytea primary key, value bytea not null, ends bigint not null);
create index if not exists note_ends on sekisho.note (ends);

create or replace function sekisho.moment() returns bigint language sql volatile as
  'select (extract(epoch from clock_timestamp()) * 1000)::bigint';

create or replace function sekisho.standing(node text, now_ms bigint) returns table (
  word text, term bigint, written boolean, complete boolean, lease boolean, since bigint, ahead bigint, clock bigint,
  pins bigint, unsure bigint, nodes text[]) language sql volatile as $$
  select 'ok', c.term, coalesce((select n.written from sekisho.node n where n.name = $1), false),
    not exists (select from sekisho.node n where not n.written), c.alone = '' or c.lease > $2, c.since,
    (select greatest(max(n.ahead), 0) from sekisho.node n), $2, (select count(*) from sekisho.pin), c.unsure,
    (select array_agg(n.name order by n.name) from sekisho.node n)
  from sekisho.cluster c
$$;

-- Another term than any before, because something may have been used that is not written here.
create or replace function sekisho.doubt(now_ms bigint) returns void language sql volatile as $$
  update sekisho.cluster set since = $1,
    term = greatest(term + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
$$;

create or replace function sekisho.hello(
  node text, wall bigint, alone_now text, run_now text, heard_of text[], has_marks boolean) returns table (
  word text, term bigint, written boolean, complete boolean, lease boolean, since bigint, ahead bigint, clock bigint,
  pins bigint, unsure bigint, nodes text[]) language plpgsql volatile as $$
declare
  c sekisho.cluster;
  known boolean;
  in_doubt boolean := false;
  now_ms bigint;
begin
  perform pg_advisory_xact_lock(7165483);
  now_ms := sekisho.moment();
  select * into c from sekisho.cluster;
  if not found then
    -- Empty: who took part is known from the nodes alone. One that has marks and knows of nobody may not be the only one.
    insert into sekisho.cluster values (true, run_now, 0, now_ms, alone_now, 0,
      case when has_marks and cardinality(heard_of) = 0 then now_ms else 0 end) returning * into c;
    insert into sekisho.node select h.name, now_ms, 0, false from unnest(heard_of) as h (name) on conflict do nothing;
    update sekisho.node n set written = false;
    in_doubt := true;
  end if;
  -- Who holds the lease may change only while it is not live, or by the word of its holder: it could be on its own.
  if c.alone <> alone_now then
    if c.alone <> '' and c.alone <> node and c.lease > now_ms then
      return query select 'differs ' || c.alone, 0::bigint, false, false, false, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
      0::bigint, null::text[];
      return;
    end if;
    update sekisho.cluster set alone = alone_now, lease = 0;
    c.lease := 0;
  end if;
  -- Another history than before: it may lack what the nodes know.
  if c.run <> run_now then
    update sekisho.cluster set run = run_now;
    update sekisho.node n set written = false;
    in_doubt := true;
  end if;
  select n.written into known from sekisho.node n where n.name = node;
  if known is null then
    known := false;
    in_doubt := true;
  end if;
  -- The holder of a lease that has run out may have been on its own.
  if alone_now <> '' and alone_now = node and c.lease <= now_ms and known then
    known := false;
    in_doubt := true;
  end if;
  insert into sekisho.node values (node, now_ms, wall - now_ms, known)
    on conflict (name) do update set seen = excluded.seen, ahead = excluded.ahead, written = excluded.written;
  if in_doubt then
    perform sekisho.doubt(now_ms);
  end if;
  return query select * from sekisho.standing(node, now_ms);
end $$;

create or replace function sekisho.beat(
  node text, wall bigint, alone_now text, lease_ms bigint, run_now text, wrote boolean,
  answered bigint) returns table (
  word text, term bigint, written boolean, complete boolean, lease boolean, since bigint, ahead bigint, clock bigint,
  pins bigint, unsure bigint, nodes text[]) language plpgsql volatile as $$
declare
  c sekisho.cluster;
  known boolean;
  now_ms bigint;
  word_now text := null;
begin
  perform pg_advisory_xact_lock(7165483);
  now_ms := sekisho.moment();
  select * into c from sekisho.cluster;
  select n.written into known from sekisho.node n where n.name = node;
  if c.run is distinct from run_now or known is null then
    word_now := 'forgotten';
  elsif c.alone <> alone_now then
    word_now := 'differs ' || c.alone;
  -- A lease that has run out is not renewed by a beat that was late: its holder may have been on its own since.
  elsif alone_now <> '' and alone_now = node and known and not wrote and c.lease <= now_ms then
    word_now := 'forgotten';
  -- What has lain in a buffer for long says nothing: whoever sent it may have given up and gone on alone.
  elsif wrote and now_ms > answered + lease_ms then
    word_now := 'forgotten';
  end if;
  if word_now is not null then
    return query select word_now, 0::bigint, false, false, false, 0::bigint, 0::bigint, 0::bigint, 0::bigint,
      0::bigint, null::text[];
    return;
  end if;
  known := known or wrote;
  if alone_now <> '' and alone_now = node and known then
    update sekisho.cluster set lease = now_ms + lease_ms;
  end if;
  update sekisho.node n set seen = now_ms, ahead = wall - now_ms, written = known where n.name = node;
  delete from sekisho.note n where n.ends <= now_ms;
  return query select * from sekisho.standing(node, now_ms);
end $$;

-- Settles steps that have no slot in common, each by itself all or nothing. Step 0 stands for all of them. Words: 0
-- done, 1 a slot holds something else, 2 answered before, 3 what it takes is gone; 10 forgotten, 11 another term, 12
-- the node that may go on alone is not connected. What is looked up is looked up key by key (a scalar subquery cannot
-- become a join): a plan made while a table was empty would read all of it for ever.
create or replace function sekisho.settle(
  term_now bigint, alone_now text, steps integer,
  slot_step integer[], slot_key bytea[], slot_was bytea[], slot_becomes bytea[],
  answer_step integer[], answer_key bytea[],
  note_step integer[], note_key bytea[], note_value bytea[], note_ms bigint[],
  take_step integer[], take_key bytea[],
  pin_step integer[], pin_source text[]) returns table (
  step integer, word integer, answer bytea, found bytea[]) language plpgsql volatile as $$
declare
  c sekisho.cluster;
  now_ms bigint;
  held bytea[];
  words integer[] := array_fill(0, array[steps]);
  answers bytea[] := array_fill(null::bytea, array[steps]);
  other record;
begin
  perform pg_advisory_xact_lock(7165483);
  now_ms := sekisho.moment();
  select * into c from sekisho.cluster;
  if not found then
    return query select 0, 10, null::bytea, null::bytea[];
    return;
  end if;
  if term_now is not null then
    if c.term <> term_now or c.alone <> alone_now then
      return query select 0, 11, null::bytea, null::bytea[];
      return;
    end if;
    if alone_now <> '' and c.lease <= now_ms then
      return query select 0, 12, null::bytea, null::bytea[];
      return;
    end if;
  end if;

  held := array(select (select h.value from sekisho.slot h where h.key = u.key)
    from unnest(slot_key) with ordinality as u (key, place) order by u.place);
  if held is distinct from slot_was then
    for other in select u.step from unnest(slot_step, slot_was, held) as u (step, was, held)
      where u.held is distinct from u.was loop
      words[other.step] := 1;
    end loop;
  end if;
  for other in select u.step from unnest(take_step, take_key) as u (step, key)
    where coalesce((select h.ends from sekisho.note h where h.key = u.key), 0) <= now_ms loop
    words[other.step] := 3;
  end loop;
  for other in select a.step, a.value from (
    select u.step, (select case when h.ends > now_ms then h.value end from sekisho.note h where h.key = u.key) as value
    from unnest(answer_step, answer_key) as u (step, key) offset 0) a where a.value is not null loop
    words[other.step] := 2;
    answers[other.step] := other.value;
  end loop;

  insert into sekisho.slot as s (key, value)
    select u.key, u.becomes from unnest(slot_step, slot_key, slot_becomes) as u (step, key, becomes)
    where u.becomes is not null and words[u.step] = 0
    on conflict (key) do update set value = excluded.value;
  if cardinality(take_key) > 0 then
    delete from sekisho.note n where n.key = any (
      array(select u.key from unnest(take_step, take_key) as u (step, key) where words[u.step] = 0));
  end if;
  insert into sekisho.note as n (key, value, ends)
    select u.key, u.value, now_ms + u.ms from unnest(note_step, note_key, note_value, note_ms) as u (step, key, value, ms)
    where words[u.step] = 0
    on conflict (key) do update set value = excluded.value, ends = excluded.ends;
  if cardinality(pin_source) > 0 then
    insert into sekisho.pin (source) select distinct u.source from unnest(pin_step, pin_source) as u (step, source)
      where words[u.step] = 0 on conflict do nothing;
  end if;

  return query select w.step::integer, w.word, case when w.word = 2 then answers[w.step] end,
    case when w.word in (1, 2) then array(select held[u.place]
      from unnest(slot_step) with ordinality as u (step, place) where u.step = w.step order by u.place) end
    from unnest(words) with ordinality as w (word, step);
end $$;
