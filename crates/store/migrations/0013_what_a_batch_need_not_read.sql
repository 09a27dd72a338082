-- A resolver need not read what it wrote itself, as long as nobody wrote it since: it has the rows compared with the transaction that it
-- knows to have written them last (`xmin`), and is refused where one has another.

-- Ends the transaction where fewer rows are as they were known than must be.
create function must_be_unchanged(unchanged bigint, all_of_them bigint) returns void language plpgsql as $$
begin
    if unchanged <> all_of_them then
        raise exception 'somebody else wrote what was known' using errcode = 'serialization_failure';
    end if;
end $$;

-- Which server counts the transactions: one that was brought back from an old copy was started anew, and counts some of them once more.
create function server() returns bigint language sql stable
    return (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint;
