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
