-- Who made an item's current status, and what it was before: what tells two automations that fight from people at work.

alter table items
    add column changed_by_actor jsonb,
    add column changed_from     text;
