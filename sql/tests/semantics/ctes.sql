-- accept: a WITH is its rows
WITH v AS (SELECT person_id, kind FROM visit WHERE cost > 20) SELECT kind, COUNT(*) FROM v GROUP BY kind
-- accept: one WITH reads another
WITH v AS (SELECT * FROM visit WHERE kind = 'IMP'), f AS (SELECT person_id, MIN(day) first FROM v GROUP BY person_id) SELECT year(first), COUNT(*) FROM f GROUP BY year(first)
-- accept: a WITH inside a WITH
WITH f AS (WITH v AS (SELECT person_id, day FROM visit) SELECT person_id, MIN(day) first FROM v GROUP BY person_id) SELECT COUNT(*) FROM f WHERE first > DATE '2019-06-01'
-- accept: a WITH inside a sub-query
SELECT COUNT(*) FROM person WHERE person_id IN (WITH d AS (SELECT person_id FROM drug WHERE code = 'a') SELECT person_id FROM d)
-- accept: a WITH that is used twice, joined on the patient
WITH v AS (SELECT person_id, day FROM visit) SELECT COUNT(*) FROM v a JOIN v b ON a.person_id = b.person_id AND b.day > a.day
-- accept: a WITH that is not used
WITH unused AS (SELECT county FROM person) SELECT COUNT(*) FROM death
-- accept: names for the columns of a WITH
WITH f(who, since) AS (SELECT person_id, MIN(day) FROM visit GROUP BY person_id) SELECT COUNT(*) FROM f JOIN death x ON x.person_id = f.who WHERE since < x.died
-- accept: a WITH takes a table's name, and reads that table
WITH visit AS (SELECT * FROM visit WHERE kind = 'AMB') SELECT COUNT(*) FROM visit
-- accept: rows of patients under a public table's name stay rows of patients
WITH region AS (SELECT person_id, county AS name FROM person) SELECT name, COUNT(*) FROM region GROUP BY name
-- refuse NOT_A_QUERY: public rows under a private table's name stay public
WITH person AS (SELECT region_code AS person_id FROM region) SELECT COUNT(*) FROM person
-- refuse ROW_LEVEL_OUTPUT: a WITH does not turn rows into numbers
WITH p AS (SELECT county FROM person) SELECT * FROM p
-- refuse NESTED_DP: a released WITH picks patients
WITH big AS (SELECT county FROM person GROUP BY county HAVING COUNT(*) > 3) SELECT COUNT(*) FROM person JOIN big USING (county)
-- accept: a released WITH is used twice
WITH c AS (SELECT county, COUNT(*) n FROM person GROUP BY county) SELECT a.county, a.n FROM c a JOIN c b ON a.county = b.county WHERE b.n > 2
-- accept: a released WITH beside public rows
WITH c AS (SELECT county, COUNT(*) n FROM person GROUP BY county) SELECT r.name, c.n FROM c JOIN region r ON r.region_code = c.county
-- refuse AGG_UNSUPPORTED: two released WITHs
WITH a AS (SELECT COUNT(*) n FROM person), b AS (SELECT COUNT(*) m FROM death) SELECT n, m FROM a CROSS JOIN b
-- refuse RECURSIVE by text: a WITH that reads itself
WITH RECURSIVE r AS (SELECT person_id FROM person UNION ALL SELECT person_id FROM r) SELECT COUNT(*) FROM r
-- refuse RECURSIVE by text: the word alone, before the planner would read it
WITH RECURSIVE r AS (SELECT person_id FROM person) SELECT COUNT(*) FROM r
-- refuse UNKNOWN_NAME: a WITH is read before it is defined
WITH a AS (SELECT * FROM b), b AS (SELECT person_id FROM person) SELECT COUNT(*) FROM a
-- refuse UNKNOWN_NAME: a WITH of a sub-query is not seen outside of it
SELECT COUNT(*) FROM (WITH v AS (SELECT person_id FROM visit) SELECT person_id FROM v) t JOIN v ON v.person_id = t.person_id
-- refuse UNKNOWN_NAME: an inner WITH that would hide an outer one of its name
WITH v AS (SELECT person_id FROM death) SELECT COUNT(*) FROM (WITH v AS (SELECT person_id FROM visit) SELECT person_id FROM v) t
-- refuse UNKNOWN_NAME: two WITHs of one name
WITH a AS (SELECT person_id FROM person), a AS (SELECT person_id FROM visit) SELECT COUNT(*) FROM a
-- accept: patients on one side of a LEFT JOIN of two WITHs
WITH a AS (SELECT person_id, sex FROM person), b AS (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id) SELECT a.sex, COUNT(*) FROM a LEFT JOIN b ON a.person_id = b.person_id WHERE coalesce(b.n, 0) < 3 GROUP BY a.sex
