-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > DATE '2020-13-45'
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > TRUE
-- refuse: lower
SELECT COUNT(*) FROM person WHERE lower(year_of_birth) = 'x'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth + county > 5
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date BETWEEN '2020-01-01' AND DATE '2020-12-31'
-- accept
SELECT COUNT(*) FROM person WHERE year_of_birth > 1950.5
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT 'x'
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT -1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE CAST('x' AS INT) = 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE NOT county
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county AND gender = 'female'
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date + visit_end_date > 1
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date * 2 > 1
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE -county = 'x'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE substr(county, 'a') = 'x'
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE date_diff('day', county) > 3
-- refuse: (any)
SELECT AVG(gender) FROM person
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > '2020-01-01' AND visit_end_date - visit_start_date > 3
-- accept
SELECT COUNT(*) FROM person WHERE CASE gender WHEN 'female' THEN 1 WHEN 'male' THEN 2.5 END > 1
-- accept
SELECT COUNT(*) FROM person WHERE (year_of_birth IS DISTINCT FROM 1950) AND county IS NOT NULL AND (gender = 'female') IS TRUE
-- accept
SELECT COUNT(*) FROM person WHERE year_of_birth = NULL
-- accept
SELECT CAST(year_of_birth AS VARCHAR) || '-' || gender k, COUNT(*) FROM person GROUP BY k
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT 1.5
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT 18446744073709551616
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county OFFSET -3
