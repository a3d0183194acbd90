-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, '^25')
-- refuse: repeat
SELECT repeat(county, 100), COUNT(*) FROM person GROUP BY county
-- refuse: county
SELECT COUNT(*) FROM person WHERE race LIKE county
-- refuse: to_timestamp
SELECT COUNT(*) FROM visit_occurrence WHERE to_timestamp(visit_source_value) > now()
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE CAST(visit_start_date AS TIMESTAMP) > TIMESTAMP '2020-01-01 00:00:00'
-- refuse: date_trunc
SELECT date_trunc('hour', visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1
-- refuse: left
SELECT left(county, year_of_birth), COUNT(*) FROM person GROUP BY 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county ~ '25.*'
-- accept
SELECT date_trunc('month', visit_start_date), EXTRACT(YEAR FROM visit_start_date), COUNT(*) FROM visit_occurrence GROUP BY 1, 2
-- accept
SELECT left(county, 2), upper(gender), COUNT(*) FROM person WHERE race LIKE 'w%' AND county IN ('25017', '25025') GROUP BY 1, 2
-- accept
SELECT COUNT(*) FROM measurement WHERE 100 / value_as_number > 1 AND CAST(value_as_string AS BIGINT) > 3 AND coalesce(nullif(unit_source_value, 'x'), 'y') = 'y'
-- accept
SELECT CASE WHEN year_of_birth % 2 = 0 THEN 'even' ELSE 'odd' END, COUNT(*) FROM person GROUP BY 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county LIKE '{{300:%a}}'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county LIKE 'a!%' ESCAPE '!'
-- accept
SELECT width_bucket(value_as_number, 50, 250, 4) b, COUNT(*) FROM measurement WHERE round(value_as_number, -1) > 60 GROUP BY b
-- refuse: width_bucket
SELECT width_bucket(value_as_number, 50, visit_occurrence_id, 4) b, COUNT(*) FROM measurement GROUP BY b
