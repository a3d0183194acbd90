-- refuse: c.condition_start_date = d.drug_exposure_start_date
SELECT COUNT(*) FROM condition_occurrence c JOIN drug_exposure d ON c.condition_start_date = d.drug_exposure_start_date
-- refuse: a.person_id = b.person_id OR a.county = b.county
SELECT COUNT(*) FROM person a JOIN person b ON a.person_id = b.person_id OR a.county = b.county
-- refuse: a.person_id = b.person_id + 0
SELECT COUNT(*) FROM person a JOIN person b ON a.person_id = b.person_id + 0
-- refuse: a.person_id <> b.person_id
SELECT COUNT(*) FROM person a JOIN person b ON a.person_id <> b.person_id
-- refuse: a.person_id = a.person_id AND a.county = b.county
SELECT COUNT(*) FROM person a JOIN person b ON a.person_id = a.person_id AND a.county = b.county
-- refuse: (any)
SELECT COUNT(*) FROM person a, person b WHERE a.county = b.county
-- refuse: a.person_id = b.person_id
SELECT COUNT(*) FROM person a JOIN (SELECT visit_occurrence_id AS person_id FROM visit_occurrence) b ON a.person_id = b.person_id
-- refuse: a.person_id = b.person_id
SELECT COUNT(*) FROM person a JOIN (SELECT person_id + 0 AS person_id FROM person) b ON a.person_id = b.person_id
-- refuse: a.person_id = b."person_id"
SELECT COUNT(*) FROM person a JOIN (SELECT year_of_birth AS "person_id" FROM person) b ON a.person_id = b."person_id"
-- refuse: (any)
SELECT COUNT(*) FROM person JOIN visit_occurrence USING (person_id) JOIN (SELECT person_id AS p2, visit_start_date FROM visit_occurrence) b USING (visit_start_date)
-- accept
SELECT COUNT(*) FROM person a JOIN visit_occurrence b ON a.person_id = b.person_id AND b.visit_start_date > DATE '2020-01-01'
-- accept
SELECT COUNT(*) FROM person a, visit_occurrence b WHERE a.person_id = b.person_id
-- accept
SELECT COUNT(*) FROM person a, death c, observation_period b WHERE a.person_id = b.person_id AND c.person_id = b.person_id
-- accept
SELECT COUNT(*) FROM person JOIN visit_occurrence USING (person_id)
-- accept
SELECT COUNT(*) FROM person NATURAL JOIN death
-- accept
SELECT COUNT(*) FROM person a JOIN (SELECT person_id AS pid FROM visit_occurrence) b ON a.person_id = b.pid
-- accept
SELECT COUNT(*) FROM person a JOIN person b ON b.person_id = a.person_id AND (a.county = b.county OR a.gender = 'female')
