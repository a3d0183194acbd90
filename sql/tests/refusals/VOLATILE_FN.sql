-- refuse: random
SELECT COUNT(*) FROM person WHERE random() < 0.5
-- refuse: uuid
SELECT uuid(), COUNT(*) FROM person
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > now() - INTERVAL '30 days'
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > current_date - 30
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date + 30 > visit_end_date + INTERVAL '1 month 2 days'
-- refuse: gen_random_uuid
SELECT gen_random_uuid(), COUNT(*) FROM person
-- refuse: uuid
SELECT county, COUNT(*) FROM person GROUP BY county ORDER BY uuid()
-- refuse: random
SELECT COUNT(*) + random() FROM person
-- accept
SELECT COUNT(*) FROM person WHERE year_of_birth < year(today()) - 65
