-- refuse: *
SELECT * FROM person
-- refuse: county
SELECT county FROM person
-- refuse: *
SELECT * FROM person LIMIT 5
-- refuse: *
SELECT * FROM (SELECT p.county, c.condition_start_date FROM person p JOIN condition_occurrence c ON p.person_id = c.person_id) t
-- refuse: COUNT
SELECT COUNT(*) FROM visit_occurrence GROUP BY person_id
-- refuse: county
SELECT county FROM person UNION ALL SELECT county FROM person
-- refuse: c
SELECT c, n FROM (SELECT county c, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year_of_birth) n FROM person)
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county
-- accept
SELECT county FROM person GROUP BY county
-- accept
SELECT DISTINCT county FROM person
-- accept
SELECT COUNT(*) FROM person
-- accept
SELECT county FROM person UNION SELECT county FROM person
-- refuse: name
WITH region AS (SELECT person_id AS code, county AS name FROM person) SELECT name FROM region
