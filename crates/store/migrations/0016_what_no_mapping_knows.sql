-- The few records that show what no mapping knows, for the alert that says so.
create index records_unmapped on records (system, kind, native) where unmapped;
