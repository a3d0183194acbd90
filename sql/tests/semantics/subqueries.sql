-- accept: patients who are in a list of patients
SELECT county, COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit WHERE kind = 'IMP') GROUP BY county
-- accept: rows of patients who are in a list
SELECT COUNT(*) FROM visit WHERE person_id IN (SELECT person_id FROM drug)
-- accept: NOT IN reads as NOT EXISTS; a patient is never NULL, so both mean the same
SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT person_id FROM visit)
-- accept: NOT before IN
SELECT COUNT(*) FROM person WHERE NOT (person_id IN (SELECT person_id FROM death))
-- accept: = ANY is IN
SELECT COUNT(*) FROM person WHERE person_id = ANY (SELECT person_id FROM visit)
-- accept: <> ALL is NOT IN
SELECT COUNT(*) FROM person WHERE person_id <> ALL (SELECT person_id FROM visit WHERE kind = 'EMER')
-- refuse PRIVATE_SUBQUERY_IN_EXPR: > ALL compares a patient with all others
SELECT COUNT(*) FROM person WHERE born > ALL (SELECT born FROM person WHERE sex = 'f')
-- refuse PRIVATE_SUBQUERY_IN_EXPR: < ANY too
SELECT COUNT(*) FROM person WHERE born < ANY (SELECT born FROM person)
-- accept: IN of a list that is itself restricted by patients
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit WHERE person_id IN (SELECT person_id FROM death))
-- accept: IN of a per-patient group-by
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit GROUP BY person_id HAVING COUNT(*) > 2)
-- accept: IN of a union of patients
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit UNION ALL SELECT person_id FROM drug)
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a list of attributes of other patients
SELECT COUNT(*) FROM person WHERE county IN (SELECT county FROM person WHERE sex = 'f')
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a list of ids that are no patients
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT visit_id FROM visit)
-- refuse OUTER_JOIN_NULLS_PRIVATE: a list of patients that may be NULL
SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT x.person_id FROM visit v LEFT JOIN death x ON v.person_id = x.person_id)
-- refuse NESTED_DP: a list of released keys
SELECT COUNT(*) FROM person WHERE county IN (SELECT county FROM person GROUP BY county HAVING COUNT(*) > 3)
-- accept: a list of public values
SELECT COUNT(*) FROM person WHERE county IN (SELECT region_code FROM region WHERE people > 5)
-- accept: a list of public values, negated; NULL counties are kept, as NOT EXISTS keeps them
SELECT COUNT(*) FROM person WHERE county IS NOT NULL AND county NOT IN (SELECT region_code FROM region WHERE people > 5)
-- accept: EXISTS tied to the patient
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id AND v.cost > 50)
-- accept: NOT EXISTS tied to the patient
SELECT sex, COUNT(*) FROM person p WHERE NOT EXISTS (SELECT * FROM drug d WHERE p.person_id = d.person_id) GROUP BY sex
-- accept: EXISTS tied to the patient and by an inequality of two rows
SELECT COUNT(*) FROM visit v WHERE EXISTS (SELECT 1 FROM drug d WHERE d.person_id = v.person_id AND d.day > v.day)
-- accept: EXISTS with DISTINCT and ORDER BY, which mean nothing there
-- means: SELECT COUNT(*) FROM person p LEFT SEMI JOIN visit v ON v.person_id = p.person_id
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT DISTINCT v.kind FROM visit v WHERE v.person_id = p.person_id ORDER BY v.kind)
-- accept: EXISTS in EXISTS, each tied to the row around it
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id AND EXISTS (SELECT 1 FROM drug d WHERE d.person_id = v.person_id AND d.visit_id = v.visit_id))
-- refuse PRIVATE_SUBQUERY_IN_EXPR: tied to a row two levels out
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id AND EXISTS (SELECT 1 FROM drug d WHERE d.person_id = p.person_id AND d.visit_id = v.visit_id))
-- refuse PRIVATE_SUBQUERY_IN_EXPR: EXISTS that is tied to nothing
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM death x WHERE x.died > DATE '2020-01-01')
-- refuse PRIVATE_SUBQUERY_IN_EXPR: EXISTS tied by an attribute
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM person q WHERE q.county = p.county AND q.sex <> p.sex)
-- refuse PRIVATE_SUBQUERY_IN_EXPR: the tie stands under OR
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id OR v.kind = 'IMP')
-- accept: public rows exist
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM region r WHERE r.region_code = p.county AND r.people > 5)
-- accept: EXISTS under OR
SELECT COUNT(*) FROM person p WHERE p.sex = 'f' OR EXISTS (SELECT 1 FROM death x WHERE x.person_id = p.person_id)
-- accept: two EXISTS under OR
SELECT COUNT(*) FROM person p WHERE EXISTS (SELECT 1 FROM drug d WHERE d.person_id = p.person_id AND d.code = 'a') OR NOT EXISTS (SELECT 1 FROM visit v WHERE v.person_id = p.person_id)
-- accept: IN under OR
SELECT COUNT(*) FROM visit WHERE kind = 'EMER' OR person_id IN (SELECT person_id FROM drug WHERE code = 'b')
-- accept: EXISTS in CASE
-- means: SELECT 'yes', COUNT(*) FROM person p LEFT SEMI JOIN drug d ON d.person_id = p.person_id UNION ALL SELECT 'no', COUNT(*) FROM person p LEFT ANTI JOIN drug d ON d.person_id = p.person_id
SELECT exposed, COUNT(*) FROM (SELECT CASE WHEN EXISTS (SELECT 1 FROM drug d WHERE d.person_id = p.person_id) THEN 'yes' ELSE 'no' END exposed FROM person p) t GROUP BY exposed
-- accept: EXISTS in the condition of an aggregate
-- means: SELECT COUNT(*) FROM person p LEFT SEMI JOIN death x ON x.person_id = p.person_id
SELECT COUNT(*) FILTER (WHERE EXISTS (SELECT 1 FROM death x WHERE x.person_id = p.person_id)) FROM person p
-- accept: IN in a sum
-- means: SELECT COUNT(*) FROM person p LEFT SEMI JOIN drug d ON d.person_id = p.person_id
SELECT SUM(CASE WHEN person_id IN (SELECT person_id FROM drug) THEN 1 ELSE 0 END) FROM person
-- refuse PRIVATE_SUBQUERY_IN_EXPR: EXISTS under OR, tied by an attribute
SELECT COUNT(*) FROM person p WHERE p.sex = 'f' OR EXISTS (SELECT 1 FROM person q WHERE q.county = p.county)
-- refuse PRIVATE_SUBQUERY_IN_EXPR: EXISTS under OR, tied by more than equalities
SELECT COUNT(*) FROM visit v WHERE v.kind = 'IMP' OR EXISTS (SELECT 1 FROM drug d WHERE d.person_id = v.person_id AND d.day > v.day)
-- accept: a scalar aggregate of the patient's rows
SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM visit v WHERE v.person_id = p.person_id) > 2
-- accept: of no rows it is NULL, and a count is 0
SELECT COUNT(m) FROM (SELECT (SELECT MAX(v.day) FROM visit v WHERE v.person_id = p.person_id) AS m FROM person p) t
-- accept: scalars on both sides
SELECT COUNT(*) FROM person p WHERE (SELECT MIN(v.day) FROM visit v WHERE v.person_id = p.person_id) < (SELECT MIN(d.day) FROM drug d WHERE d.person_id = p.person_id)
-- accept: a scalar in the SELECT list of one row for each patient
SELECT n, COUNT(*) FROM (SELECT p.person_id, (SELECT COUNT(*) FROM drug d WHERE d.person_id = p.person_id) n FROM person p) t GROUP BY n
-- accept: a scalar of the public rows that a row looks up
SELECT COUNT(*) FROM person p WHERE (SELECT MAX(r.people) FROM region r WHERE r.region_code = p.county) > 5
-- accept: a scalar of all public rows is one number
SELECT COUNT(*) FROM person p JOIN region r ON r.region_code = p.county WHERE r.people > (SELECT AVG(people) FROM region)
-- accept: the same inside a list of public values
SELECT COUNT(*) FROM person WHERE county IN (SELECT region_code FROM region WHERE people >= (SELECT MAX(people) FROM region))
-- accept: the same in the sum
SELECT SUM(born - (SELECT MIN(year) FROM calendar)) FROM person
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a scalar over all patients
SELECT COUNT(*) FROM person WHERE born > (SELECT AVG(born) FROM person)
-- refuse NESTED_DP: a scalar over the patients that share an attribute
SELECT COUNT(*) FROM person p WHERE (SELECT COUNT(*) FROM person q WHERE q.county = p.county) > 3
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a scalar that may have two rows
SELECT COUNT(*) FROM person p WHERE (SELECT v.kind FROM visit v WHERE v.person_id = p.person_id) = 'IMP'
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a released number beside a private scalar
SELECT county, COUNT(*) FROM person GROUP BY county HAVING COUNT(*) > (SELECT COUNT(*) FROM death)
-- accept: a released number beside a public scalar
SELECT county, COUNT(*) FROM person GROUP BY county HAVING COUNT(*) > (SELECT MIN(people) FROM region)
-- refuse PRIVATE_SUBQUERY_IN_EXPR: LATERAL
SELECT COUNT(*) FROM person p, LATERAL (SELECT * FROM visit v WHERE v.person_id = p.person_id) x
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a private list that picks public rows
SELECT COUNT(*) FROM person p JOIN region r ON r.region_code = p.county WHERE r.region_code IN (SELECT county FROM person)
-- accept: a sub-query in FROM is its rows
SELECT COUNT(*) FROM (SELECT * FROM (SELECT person_id, kind FROM visit WHERE cost > 10) a WHERE kind <> 'AMB') b
-- refuse LIMIT_OR_SAMPLE_BEFORE_AGG: a list of so many patients
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM visit ORDER BY day LIMIT 3)
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a sub-query in the condition of a join
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id AND v.person_id IN (SELECT person_id FROM drug)
