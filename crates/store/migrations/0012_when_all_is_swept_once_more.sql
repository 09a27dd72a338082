-- What all systems are swept anew for, and when that is done once more. It has one row.
create table anew (
    one      boolean primary key default true check (one),
    -- what statuses meant when that was last noted
    meaning  text,
    -- when all is swept once more, in milliseconds since 1970; none where nothing is to come
    again_at bigint
);
insert into anew (meaning) select max(epoch) from streams where name = 'meaning';
delete from streams where name = 'meaning';
