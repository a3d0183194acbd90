-- accept: UNION ALL of rows that show the patient in the same column
SELECT COUNT(*) FROM (SELECT person_id, day FROM visit UNION ALL SELECT person_id, day FROM drug) t
-- accept: the patient goes along when it is not shown
SELECT COUNT(*) FROM (SELECT day FROM visit UNION ALL SELECT day FROM drug) t
-- accept: patients of either table are counted once
SELECT COUNT(DISTINCT person_id) FROM (SELECT person_id FROM visit UNION ALL SELECT person_id FROM drug) t
-- accept: the column's name may differ, its place decides
SELECT COUNT(DISTINCT a) FROM (SELECT person_id AS a FROM visit UNION ALL SELECT person_id AS b FROM death) t
-- refuse SETOP_MIXED: the patient stands where another id stands
SELECT COUNT(*) FROM (SELECT person_id FROM person UNION ALL SELECT visit_id FROM visit) t
-- refuse SETOP_MIXED: the patient's place is swapped with another column's
SELECT COUNT(*) FROM (SELECT person_id, visit_id FROM visit UNION ALL SELECT visit_id, person_id FROM drug) t
-- refuse SETOP_MIXED: the patient stands where NULL stands
SELECT COUNT(*) FROM (SELECT person_id FROM person UNION ALL SELECT NULL FROM visit) t
-- refuse SETOP_MIXED: patients' rows and public rows
SELECT COUNT(*) FROM (SELECT county FROM person UNION ALL SELECT region_code FROM region) t
-- refuse SETOP_MIXED: patients' rows and constants
SELECT COUNT(*) FROM (SELECT county FROM person UNION ALL VALUES ('A')) t
-- refuse SETOP_MIXED: patients' rows and a released result
SELECT COUNT(*) FROM (SELECT county FROM person UNION ALL SELECT county FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) u) t
-- refuse OUTER_JOIN_NULLS_PRIVATE: one branch's patient may be NULL
SELECT COUNT(DISTINCT k) FROM (SELECT person_id k FROM person UNION ALL SELECT x.person_id FROM person p LEFT JOIN death x ON p.person_id = x.person_id) t
-- accept: three branches
SELECT kind, COUNT(*) FROM (SELECT 'visit' kind FROM visit UNION ALL SELECT 'drug' FROM drug UNION ALL SELECT 'death' FROM death) t GROUP BY kind
-- accept: branches in parentheses, one of them a union
SELECT COUNT(*) FROM (SELECT person_id FROM visit UNION ALL (SELECT person_id FROM drug UNION ALL SELECT person_id FROM death)) t
-- accept: a NULL beside a value
SELECT SUM(cost) FROM (SELECT person_id, cost FROM visit UNION ALL SELECT person_id, NULL FROM drug) t
-- accept: a union of per-patient rows, aggregated by patient
SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) n FROM (SELECT person_id FROM visit UNION ALL SELECT person_id FROM drug) u GROUP BY person_id) t GROUP BY n
-- accept: a union joined on the patient
SELECT p.sex, COUNT(*) FROM person p JOIN (SELECT person_id, day FROM visit UNION ALL SELECT person_id, day FROM drug) e ON e.person_id = p.person_id GROUP BY p.sex
-- accept: two unions joined on the patient
SELECT COUNT(*) FROM (SELECT person_id, sex FROM person UNION ALL SELECT person_id, county FROM person) a JOIN (SELECT person_id FROM death UNION ALL SELECT person_id FROM nobody) b ON a.person_id = b.person_id
-- accept: the periods of both branches are the keys
SELECT year(day) y, COUNT(*) FROM (SELECT day FROM visit UNION ALL SELECT died FROM death) t GROUP BY year(day)
-- accept: a union whose branches have conditions
SELECT COUNT(*) FROM (SELECT person_id FROM visit WHERE kind = 'IMP' UNION ALL SELECT person_id FROM drug WHERE days > 10) t
-- accept: UNION of rows that show the patient drops what one patient has twice
SELECT COUNT(*) FROM (SELECT person_id, day FROM visit UNION SELECT person_id, day FROM drug) t
-- accept: UNION of the patient alone
SELECT COUNT(*) FROM (SELECT person_id FROM visit UNION SELECT person_id FROM drug) t
-- accept: UNION BY NAME matches columns by their names
SELECT COUNT(*) FROM (SELECT person_id, day FROM visit UNION ALL BY NAME SELECT day, person_id FROM drug) t
-- refuse SETOP_MIXED: UNION BY NAME fills the missing patient with NULL
SELECT COUNT(*) FROM (SELECT person_id, kind FROM visit UNION ALL BY NAME SELECT day, visit_id FROM drug) t
-- accept: INTERSECT of rows that show the patient
SELECT COUNT(*) FROM (SELECT person_id FROM visit INTERSECT SELECT person_id FROM drug) t
-- accept: INTERSECT of the patient and more
SELECT COUNT(*) FROM (SELECT person_id, day FROM visit INTERSECT SELECT person_id, day FROM drug) t
-- accept: in INTERSECT a NULL is like a NULL
SELECT COUNT(*) FROM (SELECT person_id, visit_id FROM drug INTERSECT SELECT person_id, visit_id FROM drug WHERE days > 5) t
-- accept: EXCEPT of rows that show the patient
SELECT COUNT(*) FROM (SELECT person_id FROM person EXCEPT SELECT person_id FROM visit) t
-- accept: EXCEPT of the patient and more
SELECT COUNT(*) FROM (SELECT person_id, visit_id FROM drug EXCEPT SELECT person_id, visit_id FROM visit) t
-- accept: EXCEPT of a table that is empty
SELECT COUNT(*) FROM (SELECT person_id FROM person EXCEPT SELECT person_id FROM nobody) t
-- accept: INTERSECT binds closer than UNION
SELECT COUNT(*) FROM (SELECT person_id FROM death UNION SELECT person_id FROM visit INTERSECT SELECT person_id FROM drug) t
-- refuse SETOP_MIXED: INTERSECT of rows that do not show the patient
SELECT COUNT(*) FROM (SELECT county FROM person INTERSECT SELECT county FROM person WHERE sex = 'f') t
-- refuse SETOP_MIXED: EXCEPT of rows that do not show the patient
SELECT COUNT(*) FROM (SELECT day FROM visit EXCEPT SELECT day FROM drug) t
-- refuse SETOP_MIXED: EXCEPT with the patient's place swapped
SELECT COUNT(*) FROM (SELECT person_id, visit_id FROM drug EXCEPT SELECT visit_id, person_id FROM visit) t
-- refuse SETOP_MIXED: patients EXCEPT public rows
SELECT COUNT(*) FROM (SELECT person_id, county FROM person EXCEPT SELECT people, region_code FROM region) t
-- refuse SETOP_MIXED: public rows EXCEPT patients
SELECT COUNT(*) FROM person WHERE county IN (SELECT region_code FROM region EXCEPT SELECT county FROM person)
-- accept: public rows EXCEPT public rows
SELECT COUNT(*) FROM person WHERE county IN (SELECT region_code FROM region EXCEPT SELECT region_code FROM region WHERE people > 5)
-- refuse SETOP_MIXED by text: INTERSECT ALL counts repeated rows
SELECT COUNT(*) FROM (SELECT person_id FROM visit INTERSECT ALL SELECT person_id FROM drug) t
-- refuse SETOP_MIXED by text: EXCEPT ALL too
SELECT COUNT(*) FROM (SELECT person_id FROM visit EXCEPT ALL SELECT person_id FROM drug) t
-- refuse TYPE_MISMATCH: branches of different widths
SELECT COUNT(*) FROM (SELECT person_id, kind FROM visit UNION ALL SELECT person_id FROM drug) t
-- refuse ROW_LEVEL_OUTPUT: a union of patients' rows is rows
SELECT county FROM person UNION ALL SELECT kind FROM visit
-- accept: public rows and released ones
SELECT region_code, 0 AS n FROM region UNION ALL SELECT county, COUNT(*) FROM person GROUP BY county
-- refuse AGG_UNSUPPORTED: two released results
SELECT COUNT(*) n FROM person UNION ALL SELECT COUNT(*) FROM death
-- refuse LIMIT_OR_SAMPLE_BEFORE_AGG: a branch that is cut off
SELECT COUNT(*) FROM (SELECT person_id FROM person UNION ALL (SELECT person_id FROM visit LIMIT 3)) t
