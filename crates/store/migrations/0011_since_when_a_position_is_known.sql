-- When the bus stored what first told of a record's position: whoever sees it below a position that was known for long, sees what an old
-- copy of its system brought back. What is known now was known at the latest when the record's youngest message was taken.
alter table records add column position_at timestamptz;
update records set position_at = taken_at;
