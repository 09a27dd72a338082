-- Which life of which resolver process made an item's version: while it is the same, what went before is told in its order.
alter table items add column made_by text;
