-- refuse: MIN
SELECT MIN(year_of_birth) FROM person
-- refuse: MAX
SELECT county, MAX(year_of_birth) FROM person GROUP BY county
-- accept
SELECT county, MEDIAN(year_of_birth), APPROX_PERCENTILE_CONT(year_of_birth, 0.01), approx_median(year_of_birth) FROM person GROUP BY county
-- accept
SELECT APPROX_PERCENTILE_CONT(0.95) WITHIN GROUP (ORDER BY value_as_number) FROM measurement
-- accept
SELECT APPROX_PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY value_as_number DESC) FILTER (WHERE value_as_number > 10) FROM measurement
-- refuse: APPROX_PERCENTILE_CONT
SELECT APPROX_PERCENTILE_CONT(year_of_birth, 1) FROM person
-- refuse: APPROX_PERCENTILE_CONT
SELECT APPROX_PERCENTILE_CONT(year_of_birth, 0.9999) FROM person
-- refuse: APPROX_PERCENTILE_CONT
SELECT APPROX_PERCENTILE_CONT(year_of_birth, year_of_birth / 2000.0) FROM person
-- refuse: APPROX_PERCENTILE_CONT
SELECT APPROX_PERCENTILE_CONT(year_of_birth, 0.5, 100) FROM person
-- refuse: MEDIAN
SELECT MEDIAN(DISTINCT year_of_birth) FROM person
-- refuse: VAR
SELECT VAR(DISTINCT year_of_birth) FROM person
-- accept
SELECT gender, VAR(year_of_birth), VAR_POP(year_of_birth), VAR_SAMP(year_of_birth), STDDEV(year_of_birth), STDDEV_POP(year_of_birth), STDDEV_SAMP(year_of_birth) FROM person GROUP BY gender
-- accept
SELECT COUNT(DISTINCT county), COUNT(DISTINCT county) FILTER (WHERE gender = 'female'), COUNT(DISTINCT year_of_birth + 1) FROM person
-- accept
SELECT COUNT(DISTINCT person_id) FILTER (WHERE gender = 'female'), COUNT(DISTINCT CASE WHEN gender = 'male' THEN person_id END) FROM person
-- accept
SELECT STDDEV(value_as_number) FILTER (WHERE value_as_number > 10), SUM(value_as_number) FILTER (WHERE value_as_number > 10) FROM measurement
-- accept
SELECT width_bucket(value_as_number, 0, 200, 20), COUNT(*) FROM measurement GROUP BY 1
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
-- accept
SELECT COUNT(DISTINCT person_id) FROM (SELECT visit_occurrence_id AS person_id FROM visit_occurrence) t
-- accept
SELECT COUNT(DISTINCT x) FROM (SELECT person_id AS x FROM person UNION ALL SELECT person_id FROM visit_occurrence) t
-- refuse: SUM
SELECT SUM(year_of_birth ORDER BY year_of_birth) FROM person
-- refuse: AVG
SELECT AVG(DISTINCT year_of_birth) FROM person
-- refuse: string_agg
SELECT string_agg(gender, ',') FROM person
-- refuse: bit_and
SELECT bit_and(year_of_birth) FROM person
-- refuse: grouping
SELECT county, grouping(county), COUNT(*) FROM person GROUP BY county
-- refuse: approx_distinct
SELECT COUNT(*) FROM person HAVING approx_distinct(county) > 3
-- refuse: listagg
SELECT listagg(gender) FROM person
-- refuse: COUNT
SELECT COUNT(*) FROM person WHERE COUNT(*) > 3
-- refuse: (any)
SELECT county, SUM(COUNT(*)) FROM person GROUP BY county
-- refuse: (any)
SELECT COUNT(*) FROM person GROUP BY COUNT(*)
-- refuse: (any)
SELECT SUM(AVG(year_of_birth)) FROM person
-- refuse: row_number
SELECT row_number() FROM person
-- refuse: ntile
SELECT COUNT(*) FROM (SELECT ntile(4) OVER (PARTITION BY person_id ORDER BY visit_start_date) n FROM visit_occurrence) WHERE n = 1
-- accept
SELECT COUNT(1), COUNT(year_of_birth), COUNT(NULL) FROM person
-- accept
SELECT round(AVG(year_of_birth), 1) - 1900, coalesce(AVG(year_of_birth) FILTER (WHERE gender = 'other'), 0) FROM person
-- accept
SELECT county, CASE WHEN COUNT(*) > 100 THEN 'many' ELSE 'few' END FROM person GROUP BY county
-- accept
SELECT county, 1000.0 * COUNT(*) / SUM(COUNT(*)) OVER () FROM person GROUP BY county
-- accept
SELECT SUM(CASE WHEN gender = 'female' AND year_of_birth < 1950 THEN 1 ELSE 0 END) * 100.0 / COUNT(*) FROM person
-- accept
SELECT MAX(n) FROM (SELECT gender, COUNT(*) n FROM person GROUP BY gender)
