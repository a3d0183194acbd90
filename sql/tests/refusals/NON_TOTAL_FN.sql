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
-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, gender)
-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, '(')
-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, '(?=a)')
-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, '(((a{100}){100}){100}){100}')
-- refuse: regexp_like
SELECT COUNT(*) FROM person WHERE regexp_like(county, 'a', 'x')
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county ~ gender
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county ~ '[a-'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county SIMILAR TO '(a'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county SIMILAR TO '2!%' ESCAPE '!'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county RLIKE '25'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth & 1 = 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth | 1 = 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth << 3 = 8
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE CAST(year_of_birth AS BOOLEAN)
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE CAST(visit_start_date AS BIGINT) > 3
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE CAST(county AS TIME) IS NULL
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE CAST(county AS BYTEA) IS NULL
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE CAST(county AS INTERVAL) IS NULL
-- refuse: (any)
SELECT COUNT(*) FROM measurement WHERE CAST(value_as_number AS DECIMAL(60, 2)) > 1
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date AT TIME ZONE 'UTC' > now()
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE [year_of_birth] = [1950]
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date + INTERVAL '3 hours' > visit_end_date
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > TIMESTAMP '2020-01-01 10:00:00'
-- refuse: date_diff
SELECT COUNT(*) FROM visit_occurrence WHERE date_diff('dow', visit_start_date, visit_end_date) > 3
-- refuse: to_char
SELECT to_char(visit_start_date, '%H:%M'), COUNT(*) FROM visit_occurrence GROUP BY 1
-- refuse: lpad
SELECT lpad(county, 10, '0'), COUNT(*) FROM person GROUP BY 1
-- refuse: replace
SELECT replace(county, gender, ''), COUNT(*) FROM person GROUP BY 1
-- refuse: split_part
SELECT split_part(county, '-', year_of_birth), COUNT(*) FROM person GROUP BY 1
-- refuse: md5
SELECT md5(county), COUNT(*) FROM person GROUP BY 1
-- refuse: to_timestamp_micros
SELECT COUNT(*) FROM person WHERE to_timestamp_micros(year_of_birth) IS NULL
-- refuse: array_length
SELECT COUNT(*) FROM person WHERE array_length(make_array(1, 2)) = 2
-- refuse: chr
SELECT chr(year_of_birth), COUNT(*) FROM person GROUP BY 1
-- refuse: factorial
SELECT COUNT(*) FROM person WHERE factorial(year_of_birth) > 5
-- accept
SELECT COUNT(*) FROM person WHERE regexp_like(county, '^25(017|025)$') OR county ~ '^2[0-5]' OR county !~* 'X' OR county SIMILAR TO '25%(7|5)'
-- accept
SELECT regexp_substr(condition_source_value, '^[0-9]{3}') k, COUNT(*) FROM condition_occurrence WHERE regexp_replace(condition_source_value, '([0-9])$', '-\1') LIKE '%-7' GROUP BY k
-- accept
SELECT to_char(visit_start_date, '%G-W%V') w, COUNT(*) FROM visit_occurrence WHERE visit_start_date >= DATE '2024-01-01' GROUP BY w
-- accept
SELECT date_diff('month', DATE '2020-01-01', visit_start_date) m, COUNT(*) FROM visit_occurrence WHERE visit_start_date >= DATE '2020-01-01' GROUP BY m
-- accept
SELECT last_day(visit_start_date) d, COUNT(*) FROM visit_occurrence GROUP BY d
-- accept
SELECT AVG(age(visit_start_date, make_date(year_of_birth, 7, 1))) FROM person JOIN visit_occurrence USING (person_id)
-- accept
SELECT AVG(EXTRACT(YEAR FROM age(visit_end_date, visit_start_date))) FROM visit_occurrence
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date BETWEEN to_date('2020-01-01') AND now() - INTERVAL '1 year 2 months 3 days'
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date + INTERVAL '1' MONTH < visit_end_date AND EXTRACT(isoyear FROM visit_start_date) = 2020
-- accept
SELECT split_part(measurement_source_value, '-', 1) k, COUNT(*) FROM measurement GROUP BY k
-- accept
SELECT replace(initcap(gender), 'F', 'f') g, concat_ws('/', ethnicity, race, year_of_birth % 2) e, COUNT(*) FROM person GROUP BY g, e
-- accept
SELECT COUNT(*) FROM person WHERE contains(county, '50') AND ends_with(county, '7') AND translate(reverse(county), '7', 'x') <> trim(BOTH '0' FROM county) AND position('5' IN county) = 2
-- accept
SELECT COUNT(*) FROM measurement WHERE log(2, value_as_number) > 3 AND mod(value_as_number, 2) = 1 AND trunc(value_as_number, 1) > sign(value_as_number) AND sin(2 * pi() * value_as_number) < cos(radians(60))
-- accept
SELECT nvl(county, 'none') c, COUNT(*) FROM person GROUP BY c
-- accept
SELECT COUNT(*) FROM person WHERE TRY_CAST(county AS INT) > 25000 AND county::BIGINT < 26000 AND CAST(gender = 'female' AS INT) = 1 AND CAST(county AS DATE) IS NULL
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth = DATE '2020-01-01'
-- refuse: (any)
SELECT COUNT(*) FILTER (WHERE year_of_birth) FROM person
-- refuse: (any)
SELECT left(r.name, t.n) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t JOIN region r ON r.region_code = t.county
-- refuse: (any)
SELECT r.name, t.n FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t JOIN region r ON r.region_code ~ t.county
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county HAVING CAST(COUNT(*) AS TIMESTAMP) > now()
-- refuse: (any)
SELECT county, SUM(COUNT(*)) OVER (ORDER BY county ROWS BETWEEN 1 PRECEDING AND 18446744073709551615 FOLLOWING) FROM person GROUP BY county
-- refuse: (any)
SELECT date_trunc('hour', day), COUNT(*) FROM visit_occurrence v JOIN calendar c ON c.day = v.visit_start_date GROUP BY day
-- accept
SELECT upper(r.name), round(100000.0 * t.n / r.population, 1), t.n % 7 FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t JOIN region r ON r.region_code = t.county WHERE r.name ~ '^M' ORDER BY t.n / r.population
-- accept
SELECT d + INTERVAL '1 month', last_day(d), n FROM (SELECT date_trunc('month', visit_start_date) d, COUNT(*) n FROM visit_occurrence GROUP BY 1) t WHERE d - DATE '2020-01-01' > 30 ORDER BY d
