-- The newest sequence of what was said of a record without a position: a more urgent lane may bring it before what was said earlier.
alter table records add column seq_said bigint not null default 0;
