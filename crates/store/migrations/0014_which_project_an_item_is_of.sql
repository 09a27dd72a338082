-- What stands before the number of an item's key: `ENG` of `ENG-1`, `acme/web` of `acme/web#7`. Whoever watches a project is shown its items.
create index items_project on items (substring(key from '^(.+)[-#][0-9]+$')) where key is not null;
