-- refuse: MIN
SELECT MIN(year_of_birth) FROM person
-- refuse: MEDIAN
SELECT county, MEDIAN(year_of_birth) FROM person GROUP BY county
-- refuse: COUNT
SELECT COUNT(DISTINCT county) FROM person
-- refuse: array_agg
SELECT array_agg(county) FROM person
-- refuse: (any)
SELECT a.n, b.n FROM (SELECT COUNT(*) n FROM person) a, (SELECT COUNT(*) n FROM death) b
-- refuse: SUM
SELECT SUM(DISTINCT year_of_birth) FROM person
-- refuse: approx_distinct
SELECT approx_distinct(county) FROM person
-- refuse: first_value
SELECT first_value(county ORDER BY year_of_birth) FROM person
-- refuse: corr
SELECT AVG(x) FROM (SELECT person_id, corr(visit_occurrence_id, visit_occurrence_id) x FROM visit_occurrence GROUP BY person_id)
-- accept
SELECT AVG(first) FROM (SELECT person_id, MIN(year(visit_start_date)) first FROM visit_occurrence GROUP BY person_id)
-- accept
SELECT gender, COUNT(*), COUNT(year_of_birth), COUNT(DISTINCT person_id), SUM(year_of_birth), AVG(year_of_birth) FROM person GROUP BY gender
-- accept
SELECT COUNT(*) FILTER (WHERE gender = 'female') * 100.0 / COUNT(*) FROM person
-- accept
SELECT SUM(CASE WHEN gender = 'female' THEN 1 ELSE 0 END), AVG(year_of_birth) FILTER (WHERE gender = 'male') FROM person
-- accept
WITH a AS (SELECT county, COUNT(*) n FROM person GROUP BY county) SELECT x.county, x.n - y.n FROM a x JOIN a y ON x.county = y.county
-- refuse: COUNT
SELECT COUNT(DISTINCT person_id) FROM (SELECT visit_occurrence_id AS person_id FROM visit_occurrence) t
-- accept
SELECT COUNT(DISTINCT x) FROM (SELECT person_id AS x FROM person UNION ALL SELECT person_id FROM visit_occurrence) t
