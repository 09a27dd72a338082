-- Deleted records stay unmapped for good, and no mapping can mend that: the alert leaves them out.
drop index records_unmapped;
create index records_unmapped on records (system, kind, native) where unmapped and native <> '(deleted)';
