-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county IN (SELECT county FROM person GROUP BY county HAVING COUNT(*) > 100)
-- refuse: (any)
SELECT p.county, COUNT(*) FROM person p JOIN (SELECT county, COUNT(*) n FROM person GROUP BY county) t ON p.county = t.county GROUP BY p.county
-- refuse: (any)
WITH t AS (SELECT county, COUNT(*) n FROM person GROUP BY county) SELECT t.county, p.year_of_birth FROM t JOIN person p ON p.county = t.county
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM visit_occurrence v WHERE v.visit_source_value = p.county) > 3
-- accept
SELECT r.name, t.n FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t JOIN region r ON r.region_code = t.county
-- accept
SELECT AVG(n) FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t
