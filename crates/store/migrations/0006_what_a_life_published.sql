-- In which batch of its maker's life an item's version was made, and up to which batch all of a life's were published: of what is
-- older nobody need ask the bus.
alter table items add column made_in bigint;
create table lives (
    life      text primary key,
    published bigint not null,
    noted_at  timestamptz not null default now()
);
