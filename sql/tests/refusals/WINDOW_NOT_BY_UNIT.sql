-- refuse: COUNT
WITH w AS (SELECT person_id, county, COUNT(*) OVER (PARTITION BY county) AS n FROM person) SELECT AVG(n) FROM w
-- refuse: ROW_NUMBER
SELECT COUNT(*) FROM (SELECT person_id, ROW_NUMBER() OVER (ORDER BY visit_start_date) AS n FROM visit_occurrence) WHERE n = 1
-- refuse: RANK
SELECT COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id + 1 ORDER BY visit_start_date) AS n FROM visit_occurrence) WHERE n = 1
-- refuse: (any)
SELECT AVG(n) FROM (SELECT COUNT(*) OVER (PARTITION BY d.person_id) AS n FROM person p LEFT JOIN death d ON p.person_id = d.person_id)
-- refuse: (any)
SELECT AVG(n) FROM (SELECT COUNT(*) OVER w AS n FROM person WINDOW w AS (PARTITION BY county))
-- accept
SELECT COUNT(*) FROM (SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY condition_start_date) AS n FROM condition_occurrence) WHERE n = 1
-- accept
SELECT AVG(gap) FROM (SELECT visit_start_date - LAG(visit_start_date) OVER (PARTITION BY person_id ORDER BY visit_start_date) AS gap FROM visit_occurrence)
-- accept
SELECT county, n, RANK() OVER (ORDER BY n DESC) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county)
-- accept
SELECT county, COUNT(*), SUM(COUNT(*)) OVER () FROM person GROUP BY county
