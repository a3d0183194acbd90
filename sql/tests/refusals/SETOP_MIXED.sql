-- refuse: (any)
SELECT COUNT(*) FROM (SELECT county FROM person UNION ALL SELECT region_code FROM region)
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county UNION ALL SELECT county, year_of_birth FROM person
-- accept
SELECT COUNT(*) FROM (SELECT person_id FROM person INTERSECT SELECT person_id FROM death)
-- refuse: SELECT person_id FROM death
SELECT COUNT(*) FROM (SELECT person_id FROM person INTERSECT ALL SELECT person_id FROM death)
-- refuse: SELECT visit_occurrence_id FROM visit_occurrence
SELECT COUNT(DISTINCT x) FROM (SELECT person_id AS x FROM person UNION ALL SELECT visit_occurrence_id FROM visit_occurrence) t
-- refuse: (any)
SELECT COUNT(*) FROM (SELECT county FROM person EXCEPT SELECT county FROM person WHERE gender = 'male')
-- accept
SELECT COUNT(*) FROM (SELECT person_id, visit_start_date d FROM visit_occurrence UNION ALL SELECT person_id, condition_start_date FROM condition_occurrence)
-- accept
SELECT month(d), COUNT(*) FROM (SELECT visit_start_date d FROM visit_occurrence UNION ALL SELECT condition_start_date FROM condition_occurrence) GROUP BY month(d)
-- accept
SELECT region_code, 0 AS n FROM region UNION ALL SELECT county, COUNT(*) FROM person GROUP BY county
