-- refuse: COPY
COPY person TO 'out.csv'
-- refuse: CREATE
CREATE TABLE x AS SELECT * FROM person
-- refuse: CREATE
CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'
-- refuse: INSERT
INSERT INTO person VALUES (1)
-- refuse: SET
SET datafusion.execution.batch_size = 1
-- refuse: EXPLAIN
EXPLAIN ANALYZE SELECT COUNT(*) FROM person
-- refuse: SHOW
SHOW TABLES
-- refuse: information_schema.tables
SELECT COUNT(*) FROM information_schema.tables
-- refuse: read_csv
SELECT COUNT(*) FROM read_csv('/etc/passwd')
-- refuse: generate_series
SELECT COUNT(*) FROM generate_series(1, 1000000000)
-- refuse: (any)
SELECT COUNT(*) FROM '/etc/passwd'
-- refuse: (any)
SELECT COUNT(*) INTO x FROM person
-- refuse: (any)
SELECT name FROM region
-- refuse: DROP
DROP TABLE person
-- accept
SELECT COUNT(*) FROM person
-- accept
WITH p AS (SELECT * FROM person) SELECT COUNT(*) FROM p;
-- refuse: (any)
WITH person AS (SELECT region_code AS person_id FROM region) SELECT COUNT(*) FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person FOR UPDATE
-- accept
WITH region AS (SELECT person_id AS code, county AS name FROM person) SELECT name, COUNT(*) FROM region GROUP BY name
