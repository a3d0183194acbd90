-- refuse: WITH
WITH RECURSIVE r AS (SELECT person_id FROM person UNION ALL SELECT person_id FROM r) SELECT COUNT(*) FROM r
-- accept
WITH r AS (SELECT person_id FROM person), s AS (SELECT * FROM r) SELECT COUNT(*) FROM s
