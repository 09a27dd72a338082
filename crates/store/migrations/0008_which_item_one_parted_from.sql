-- Which item's record it was that got this one for its own: a message that comes again may be about a version of that one.
alter table items add column parted_from uuid;
