-- refuse: 10
SELECT COUNT(*) FROM (SELECT * FROM person LIMIT 10) t
-- refuse: 1 OFFSET 2
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit_occurrence ORDER BY visit_start_date LIMIT 1 OFFSET 2)
-- refuse: (any)
SELECT COUNT(*) FROM person TABLESAMPLE BERNOULLI (10)
-- refuse: (any)
SELECT COUNT(*) FROM (SELECT DISTINCT ON (county) county, person_id FROM person)
-- refuse: (any)
SELECT AVG(year_of_birth) FROM (SELECT * FROM person ORDER BY year_of_birth OFFSET 5)
-- accept
SELECT county, COUNT(*) n FROM person GROUP BY county ORDER BY n DESC LIMIT 5 OFFSET 1
-- accept
SELECT COUNT(*) FROM (SELECT DISTINCT person_id, condition_source_value FROM condition_occurrence)
-- accept
SELECT MAX(n) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county ORDER BY n LIMIT 3)
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death d WHERE d.person_id = p.person_id LIMIT 1 OFFSET 1)
-- accept
SELECT COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, visit_source_value v FROM visit_occurrence ORDER BY person_id, visit_start_date) WHERE v = 'IMP'
-- refuse: (any)
SELECT TOP 5 county, COUNT(*) FROM person GROUP BY county
-- refuse: (any)
SELECT COUNT(*) FROM (SELECT person_id FROM person ORDER BY year_of_birth LIMIT 5)
-- refuse: (any)
SELECT COUNT(*) FROM person TABLESAMPLE SYSTEM (1) REPEATABLE (3)
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT 0
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT ALL
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county ORDER BY COUNT(*) DESC OFFSET 2
-- accept
SELECT county, COUNT(*) AS n FROM person GROUP BY county QUALIFY RANK() OVER (ORDER BY COUNT(*) DESC) <= 3
-- accept
SELECT COUNT(*) FROM (SELECT county FROM person ORDER BY year_of_birth)
