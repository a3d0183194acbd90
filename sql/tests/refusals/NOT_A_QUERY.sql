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
-- refuse: SELECT 1
SELECT 1
-- refuse: EXPLAIN
EXPLAIN SELECT COUNT(*) FROM person
-- refuse: UPDATE
UPDATE person SET county = NULL
-- refuse: MERGE
MERGE INTO person USING death ON TRUE WHEN MATCHED THEN DELETE
-- refuse: TRUNCATE
TRUNCATE TABLE person
-- refuse: ALTER
ALTER TABLE person ADD COLUMN x INT
-- refuse: GRANT
GRANT ALL ON person TO PUBLIC
-- refuse: CALL
CALL system()
-- refuse: PREPARE
PREPARE p AS SELECT COUNT(*) FROM person
-- refuse: EXECUTE
EXECUTE p(1)
-- refuse: BEGIN
BEGIN
-- refuse: COMMIT
COMMIT
-- refuse: ANALYZE
ANALYZE TABLE person
-- refuse: DESCRIBE
DESCRIBE person
-- refuse: USE
USE research
-- refuse: SHOW
SHOW ALL
-- refuse: RESET
RESET ALL
-- refuse: CREATE
CREATE FUNCTION f() RETURNS INT RETURN 1
-- refuse: CREATE
CREATE VIEW v AS SELECT COUNT(*) FROM person
-- refuse: LOAD
LOAD DATA INPATH 'x' INTO TABLE person
-- refuse: PRAGMA
PRAGMA table_info(person)
-- refuse: ATTACH
ATTACH DATABASE 'x' AS y
-- refuse: DECLARE
DECLARE c CURSOR FOR SELECT 1
-- refuse: TABLE
TABLE person
-- refuse: KILL
KILL 5
-- refuse: UNLOAD
UNLOAD (SELECT 1) TO 's3://x'
-- refuse: LOCK
LOCK TABLES person READ
-- refuse: FROM
FROM person SELECT COUNT(*)
-- refuse: INSERT
INSERT INTO person SELECT * FROM person
-- refuse: COPY
COPY (SELECT COUNT(*) FROM person) TO 'x.parquet'
-- refuse: pg_catalog.pg_class
SELECT COUNT(*) FROM pg_catalog.pg_class
-- refuse: information_schema.columns
SELECT COUNT(*) FROM person p JOIN information_schema.columns c ON TRUE
-- refuse: read_parquet
SELECT COUNT(*) FROM read_parquet('s3://bucket/person.parquet')
-- refuse: glob
SELECT COUNT(*) FROM glob('/etc/*')
-- refuse: (any)
SELECT now()
-- refuse: (any)
VALUES (1, 2)
-- refuse: (any)
SELECT * FROM (VALUES (1), (2)) t
-- refuse: (any)
SELECT COUNT(*) FROM region
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county = @@version
-- refuse: (any)
SELECT COUNT(*) FROM person FOR SHARE
-- refuse: (any)
WITH x AS (DELETE FROM person RETURNING *) SELECT COUNT(*) FROM x
-- accept
SELECT COUNT(*) AS "SELECT", COUNT(*) AS "from" FROM person
-- accept
SELECT COUNT(*) FROM person WHERE county = 'DROP TABLE person; --'
-- accept
SELECT COUNT(*) FROM person /* FROM death; DROP TABLE person */ WHERE TRUE -- ; DELETE FROM person
-- accept
(SELECT county, COUNT(*) FROM person GROUP BY county)
-- refuse: INSTALL
INSTALL httpfs
