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
