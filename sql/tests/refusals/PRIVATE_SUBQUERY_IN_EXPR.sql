-- refuse: (any)
SELECT county, COUNT(*) FROM person WHERE year_of_birth > (SELECT AVG(year_of_birth) FROM person) GROUP BY county
-- refuse: (any)
SELECT COUNT(*) / (SELECT COUNT(*) FROM person) FROM death
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county IN (SELECT county FROM person WHERE gender = 'female')
-- accept
SELECT COUNT(*) FROM person p WHERE gender = 'female' OR EXISTS (SELECT 1 FROM death d WHERE d.person_id = p.person_id)
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death d WHERE d.death_date > DATE '2020-01-01')
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM person q WHERE q.county = p.county)
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth >= ALL (SELECT year_of_birth FROM person)
-- refuse: (any)
SELECT name FROM region r WHERE EXISTS (SELECT 1 FROM person p WHERE p.county = r.region_code)
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county HAVING COUNT(*) > (SELECT AVG(year_of_birth) FROM person)
-- accept
SELECT SUM(CASE WHEN person_id IN (SELECT person_id FROM death) THEN 1 ELSE 0 END) FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person p, LATERAL (SELECT * FROM death d WHERE d.person_id = p.person_id) x
-- accept
SELECT county, COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM condition_occurrence WHERE condition_source_value = '840539006') GROUP BY county
-- accept
SELECT county, COUNT(*) FROM person WHERE person_id NOT IN (SELECT person_id FROM death) GROUP BY county
-- accept
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death d WHERE d.person_id = p.person_id) AND NOT EXISTS (SELECT * FROM visit_occurrence v WHERE v.person_id = p.person_id AND v.visit_start_date > DATE '2020-01-01')
-- accept
SELECT COUNT(*) FROM condition_occurrence c WHERE EXISTS (SELECT 1 FROM drug_exposure d WHERE d.person_id = c.person_id AND d.visit_occurrence_id = c.visit_occurrence_id AND d.drug_source_value = 'x')
-- accept
SELECT AVG(n) FROM (SELECT p.person_id, (SELECT COUNT(*) FROM visit_occurrence v WHERE v.person_id = p.person_id) AS n FROM person p) t
-- accept
SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM visit_occurrence v WHERE v.person_id = p.person_id) > 3
-- accept
SELECT COUNT(*) FROM person WHERE county IN (SELECT region_code FROM region WHERE population > 500000)
-- accept
SELECT SUM(d) FROM (SELECT p.person_id, CASE WHEN x.person_id IS NULL THEN 0 ELSE 1 END d FROM person p LEFT JOIN death x ON p.person_id = x.person_id)
-- accept
SELECT county, COUNT(*) FROM person p WHERE person_id IN (SELECT person_id FROM visit_occurrence WHERE person_id IN (SELECT person_id FROM death)) GROUP BY county
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT COUNT(*) FROM visit_occurrence v WHERE v.person_id = p.person_id)
-- accept
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death d WHERE d.person_id = p.person_id LIMIT 1)
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death d WHERE d.person_id = p.person_id OR d.cause_source_value = 'x')
-- accept
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit_occurrence GROUP BY person_id HAVING COUNT(*) > 3)
-- accept
SELECT COUNT(*) FROM visit_occurrence WHERE EXISTS (SELECT 1 FROM visit_occurrence v WHERE v.person_id = visit_occurrence.person_id AND v.visit_source_value = 'IMP')
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE gender = 'female' OR EXISTS (SELECT 1 FROM person q WHERE q.county = p.county)
-- accept
SELECT COUNT(*) FROM person p JOIN region r ON r.region_code = p.county WHERE r.population > (SELECT AVG(population) FROM region)
