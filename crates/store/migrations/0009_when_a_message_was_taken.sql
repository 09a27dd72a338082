-- When the bus stored the youngest message taken: a stream that lost its end with its server's power gives sequences once more. Until
-- the record's next message the sequences alone say what was taken.
alter table records add column taken_at timestamptz;
