-- refuse: person_id
SELECT person_id, COUNT(*) FROM visit_occurrence GROUP BY person_id
-- refuse: person_id
SELECT person_id, COUNT(*) FROM person GROUP BY person_id, county
-- refuse: person_id
SELECT DISTINCT person_id FROM person
-- refuse: person_id + 1
SELECT COUNT(*) FROM person GROUP BY person_id + 1
-- refuse: (any)
SELECT x, COUNT(*) FROM (SELECT person_id % 10 AS x, county FROM person) t GROUP BY x
-- refuse: (any)
SELECT COUNT(*) FROM person p LEFT JOIN death d ON p.person_id = d.person_id GROUP BY d.person_id
-- refuse: (any)
SELECT CAST(person_id AS VARCHAR) who, COUNT(*) FROM person GROUP BY who
-- accept
SELECT COUNT(DISTINCT person_id) FROM visit_occurrence
-- accept
SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) n FROM visit_occurrence GROUP BY person_id) GROUP BY n
-- accept
SELECT d.person_id IS NOT NULL, COUNT(*) FROM person p LEFT JOIN death d ON p.person_id = d.person_id GROUP BY 1
-- refuse: (any)
SELECT year_of_birth AS person_id, COUNT(*) FROM person GROUP BY person.person_id, year_of_birth
-- accept
SELECT COUNT(*) AS person_id FROM person
-- accept
SELECT gender AS person_id, COUNT(*) FROM person GROUP BY gender
