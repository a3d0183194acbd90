-- refuse: drug_exposure d
SELECT COUNT(*) FROM condition_occurrence c JOIN drug_exposure d ON c.person_id = d.person_id
-- refuse: (any)
SELECT COUNT(*) FROM condition_occurrence c WHERE EXISTS (SELECT 1 FROM drug_exposure d WHERE d.person_id = c.person_id AND d.drug_exposure_start_date > c.condition_start_date)
-- refuse: (any)
SELECT COUNT(*) FROM visit_occurrence v CROSS JOIN calendar
-- accept
SELECT COUNT(*) FROM condition_occurrence c WHERE c.person_id IN (SELECT person_id FROM drug_exposure)
-- accept
SELECT COUNT(*) FROM condition_occurrence c JOIN (SELECT person_id, MIN(drug_exposure_start_date) d FROM drug_exposure GROUP BY person_id) f ON c.person_id = f.person_id AND c.condition_start_date < f.d
-- accept
SELECT COUNT(*) FROM condition_occurrence c JOIN visit_occurrence v ON c.person_id = v.person_id AND c.visit_occurrence_id = v.visit_occurrence_id
-- accept
SELECT COUNT(*) FROM visit_occurrence v JOIN calendar ON calendar.day = v.visit_start_date
-- refuse: (any)
SELECT COUNT(*) FROM person p JOIN (SELECT year, day FROM calendar) c0 ON c0.year = CASE WHEN p.county = '25017' THEN 2020 ELSE 0 END JOIN (SELECT year, day FROM calendar) c1 ON c1.year = CASE WHEN p.county = '25017' THEN 2020 ELSE 0 END JOIN (SELECT year, day FROM calendar) c2 ON c2.year = CASE WHEN p.county = '25017' THEN 2020 ELSE 0 END
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth IN (SELECT c.year FROM calendar c, calendar d)
-- refuse: (any)
SELECT a.county, a.n, c.day, d.day dd FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) a CROSS JOIN calendar c CROSS JOIN calendar d
-- accept
SELECT r.name, COUNT(*) FROM person p JOIN region r ON p.county = r.region_code GROUP BY r.name
-- accept
SELECT COUNT(*) FROM condition_occurrence c WHERE c.condition_source_value IN (SELECT concept_code FROM concept WHERE condition_category = 'CIR007')
-- accept
SELECT r.name, a.n FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) a LEFT JOIN region r ON r.region_code = a.county
-- accept
SELECT a.county, a.n * 1.0 / (SELECT SUM(population) FROM region WHERE level = 'county') FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) a
