-- A mark that stands on the bus, too. Where they differ, one of the two was brought back from an old copy, or lost.
create table mark (
    one    boolean primary key default true check (one),
    -- when it was made, in milliseconds since 1970
    at     bigint not null,
    -- what the bus had then, and so still has where the process died in between; afterwards the same
    before bigint
);
