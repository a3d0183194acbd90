-- refuse: SUM
SELECT SUM(visit_occurrence_id) FROM visit_occurrence
-- refuse: AVG
SELECT AVG(person_id) FROM person
-- refuse: STDDEV
SELECT STDDEV(visit_occurrence_id) FROM visit_occurrence
-- refuse: MEDIAN
SELECT MEDIAN(visit_occurrence_id) FROM visit_occurrence
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
-- refuse: SUM
SELECT SUM(value_as_number / value_as_number) FROM measurement
-- refuse: SUM
SELECT SUM(coalesce(exp(value_as_number), 0)) FROM measurement
-- refuse: SUM
SELECT SUM(LEAST(exp(value_as_number), 10)) FROM measurement
-- refuse: SUM
SELECT SUM(CAST(value_as_string AS DOUBLE)) FROM measurement
-- refuse: SUM
SELECT SUM(ln(value_as_number)) FROM measurement
-- refuse: SUM
SELECT SUM(value_as_number * value_as_number * value_as_number * value_as_number * 1000000) FROM measurement
-- refuse: AVG
SELECT AVG(to_date(value_as_string) - measurement_date) FROM measurement
-- accept
SELECT SUM(LEAST(GREATEST(exp(value_as_number), 0), 10)) FROM measurement
-- accept
SELECT SUM(CASE WHEN value_as_number > 100 THEN 100 ELSE coalesce(value_as_number, 0) END) FROM measurement
-- accept
SELECT AVG(abs(round(value_as_number * 0.45, 1)) + days_supply / 7) FROM (SELECT m.value_as_number, 14 AS days_supply FROM measurement m)
-- accept
SELECT SUM(days_supply / quantity) FROM drug_exposure WHERE quantity BETWEEN 1 AND 100
-- accept
SELECT AVG(date_diff('day', visit_start_date, visit_end_date)), AVG(CAST(value AS DOUBLE)) FROM (SELECT visit_start_date, visit_end_date, LEAST(year(visit_start_date) - 1900, 50) AS value FROM visit_occurrence)
-- accept
SELECT AVG(signum(value_as_number) + sin(value_as_number)) FROM measurement
-- accept
SELECT SUM(days_supply % 7 + CAST(quantity AS INT)) FROM drug_exposure
