-- refuse: (any)
SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT v.person_id FROM condition_occurrence c LEFT JOIN visit_occurrence v ON c.person_id = v.person_id AND c.visit_occurrence_id = v.visit_occurrence_id)
-- refuse: death d
SELECT COUNT(*) FROM person p FULL JOIN death d ON p.person_id = d.person_id
-- refuse: person p
SELECT r.name, COUNT(p.county) FROM region r LEFT JOIN person p ON p.county = r.region_code GROUP BY r.name
-- refuse: (any)
SELECT COUNT(*) FROM person a LEFT JOIN death d ON a.person_id = d.person_id JOIN visit_occurrence v ON v.person_id = d.person_id
-- refuse: COUNT
SELECT COUNT(DISTINCT d.person_id) FROM person a LEFT JOIN death d ON a.person_id = d.person_id
-- accept
SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT c.person_id FROM condition_occurrence c LEFT JOIN death d ON c.person_id = d.person_id)
-- accept
SELECT COUNT(*), COUNT(d.person_id) FROM person a LEFT JOIN death d ON a.person_id = d.person_id
-- accept
SELECT COUNT(*) FROM death d RIGHT JOIN person a ON a.person_id = d.person_id
-- accept
SELECT r.name, COUNT(*) FROM person p LEFT JOIN region r ON p.county = r.region_code GROUP BY r.name
