-- A connector of ours has seen it: what others say of it was not seen, but is asked for.
alter table records add column watched boolean not null default false;
