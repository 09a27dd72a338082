-- What an item is now, what its records show, and how it came to that.

create table items (
    id               uuid primary key,
    lifecycle        text not null,
    key              text,
    title            text,
    status           text not null,
    status_since     timestamptz not null,
    version          bigint not null check (version > 0),
    -- system/kind/id of the record whose edit made this version
    changed_by       text not null,
    last_open        text,
    -- the conflict that a person must resolve
    held             uuid,
    recent_conflicts jsonb,
    metadata         jsonb,
    -- the item that took its records over
    ended_into       uuid
) with (fillfactor = 80);
create index items_key on items (key) where key is not null;
create index items_held on items (held) where held is not null;

create table records (
    system       text not null,
    kind         text not null,
    id           text not null,
    item         uuid not null references items (id),
    -- what the record last showed or was last made to show
    native       text not null,
    position     bigint,
    -- the newest stream sequence taken, by lane
    seq_critical bigint not null default 0,
    seq_high     bigint not null default 0,
    seq_normal   bigint not null default 0,
    seq_low      bigint not null default 0,
    -- the newest item version that the record is known to show
    agreed       bigint not null,
    -- commands since then
    sent         jsonb,
    shown        text,
    resent       integer not null default 0,
    vocabulary   jsonb,
    unmapped     boolean not null default false,
    last_error   text,
    -- identifiers that it owns, and that it mentions
    keys         jsonb,
    mentions     jsonb,
    place        integer not null default 0,
    pinned       boolean not null default false,
    url          text,
    primary key (system, kind, id)
) with (fillfactor = 80);
create index records_item on records (item);
create index records_mentions on records using gin (mentions) where mentions is not null;

-- Which record owns an identifier.
create table keys (
    key    text primary key,
    system text not null,
    kind   text not null,
    id     text not null
);

-- Append only. A message's rows are numbered, so that writing them twice is impossible.
create table history (
    item           uuid not null,
    cause_sequence bigint not null,
    ordinal        smallint not null,
    recorded_at    timestamptz not null,
    version        bigint not null,
    kind           text not null,
    from_status    text,
    to_status      text not null,
    record         text not null,
    native         text not null,
    position       bigint,
    actor          jsonb,
    reason         text not null,
    conflict       uuid,
    irregular      boolean not null default false,
    at             timestamptz not null,
    cause_id       text not null,
    primary key (item, cause_sequence, ordinal, recorded_at)
) partition by range (recorded_at);
create table history_default partition of history default;

create table conflicts (
    id          uuid primary key,
    item        uuid not null,
    version     bigint not null,
    base        text not null,
    candidates  jsonb not null,
    strategy    text not null,
    escalated   boolean not null,
    winner      integer,
    opened_at   timestamptz not null,
    resolved_at timestamptz
);
create index conflicts_open on conflicts (opened_at) where resolved_at is null;
create index conflicts_item on conflicts (item);

-- Which life of the stream the sequences in `records` belong to.
create table streams (
    name  text primary key,
    epoch text not null
);
