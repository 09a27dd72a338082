-- Whether a connector sees records of a system and kind.
create index records_watched on records (system, kind) where watched;
