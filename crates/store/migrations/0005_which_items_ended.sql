-- Whose records an item took over.
create index items_ended on items (ended_into) where ended_into is not null;
