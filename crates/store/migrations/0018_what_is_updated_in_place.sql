-- PostgreSQL writes a new version of a row in place, without touching any index, only where no column has changed that an index names,
-- be it in its condition. Each edit changes what a record shows, so that an index over that made each edit write all of the table's.
drop index records_unmapped;
create index records_unmapped on records (system, kind) where unmapped;
