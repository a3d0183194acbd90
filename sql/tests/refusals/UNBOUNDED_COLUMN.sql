-- refuse: SUM
SELECT SUM(visit_occurrence_id) FROM visit_occurrence
-- refuse: AVG
SELECT AVG(person_id) FROM person
-- refuse: SUM
SELECT SUM(x) FROM (SELECT exp(year_of_birth) AS x FROM person)
-- refuse: AVG
SELECT AVG(x) FROM (SELECT person_id, SUM(sqrt(value_as_number)) AS x FROM measurement GROUP BY person_id)
-- accept
SELECT AVG(value_as_number) FROM measurement WHERE measurement_source_value = '8480-6' AND value_as_number BETWEEN 50 AND 250
-- accept
SELECT SUM(value_as_number * 0.5 + 1) FROM measurement
-- accept
SELECT AVG(year(visit_start_date) - year_of_birth) FROM person JOIN visit_occurrence USING (person_id)
-- accept
SELECT AVG(m) FROM (SELECT person_id, AVG(value_as_number) m, MAX(value_as_number) x FROM measurement GROUP BY person_id)
-- accept
SELECT AVG(visit_end_date - visit_start_date) FROM visit_occurrence
