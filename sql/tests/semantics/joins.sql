-- accept: an inner join on the patient pairs rows of one patient
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id
-- accept: the equality may be written from either side
SELECT COUNT(*) FROM person p JOIN visit v ON v.person_id = p.person_id
-- accept: USING asks for equality of that column
SELECT p.sex, COUNT(*) FROM person p JOIN visit v USING (person_id) GROUP BY p.sex
-- accept: USING the patient and more
SELECT COUNT(*) FROM visit JOIN drug USING (person_id, visit_id)
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: USING without the patient pairs rows of two patients
SELECT COUNT(*) FROM visit JOIN drug USING (visit_id)
-- refuse UNKNOWN_NAME: USING a column that one side lacks
SELECT COUNT(*) FROM visit JOIN drug USING (kind)
-- accept: NATURAL JOIN of tables that share the patient's column
SELECT COUNT(*) FROM person NATURAL JOIN death
-- accept: NATURAL JOIN of tables that share the patient and more
SELECT COUNT(*) FROM visit NATURAL JOIN drug
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: NATURAL JOIN of rows that do not show the patient
SELECT COUNT(*) FROM (SELECT day FROM visit) a NATURAL JOIN (SELECT day FROM drug) b
-- refuse CROSS_JOIN_PRIVATE: NATURAL JOIN of rows that share no column is a cross join
SELECT COUNT(*) FROM (SELECT kind FROM visit) a NATURAL JOIN (SELECT code FROM drug) b
-- accept: more conditions of the pair beside the equality
SELECT COUNT(*) FROM visit v JOIN drug d ON v.person_id = d.person_id AND d.day BETWEEN v.day AND v.day + 60
-- accept: the equality is one of the conditions that all must hold, however they are nested
SELECT COUNT(*) FROM visit v JOIN drug d ON (v.kind = 'IMP' AND (d.code <> 'a' AND v.person_id = d.person_id))
-- accept: said twice is said once
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id AND v.person_id = p.person_id
-- accept: OR below the equality
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id AND (p.sex = 'f' OR v.kind = 'IMP')
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: OR above the equality lets two patients meet
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id OR p.sex = v.kind
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: NOT of an inequality is not read as an equality
SELECT COUNT(*) FROM person p JOIN visit v ON NOT (p.person_id <> v.person_id)
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: IS NOT DISTINCT FROM is not the equality
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id IS NOT DISTINCT FROM v.person_id
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: a column equals itself
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = a.person_id AND a.day = b.day
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: an expression of the patient is not the patient
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id + 0
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: a cast of the patient is not the patient
SELECT COUNT(*) FROM person p JOIN visit v ON CAST(p.person_id AS VARCHAR) = CAST(v.person_id AS VARCHAR)
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: a range of patients pairs many
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id >= v.person_id
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: equality of the patient with a number ties nothing
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = 1 AND v.person_id = 1
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: rows of two patients share an attribute
SELECT COUNT(*) FROM person a JOIN person b ON a.county = b.county
-- accept: a self-join on the patient
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id AND a.visit_id < b.visit_id
-- accept: a row met by its own id of the same patient
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id AND a.visit_id = b.visit_id
-- refuse CROSS_JOIN_PRIVATE: every row of one patient with every row of others
SELECT COUNT(*) FROM person a CROSS JOIN visit b
-- refuse CROSS_JOIN_PRIVATE: a condition that always holds is none
SELECT COUNT(*) FROM person a JOIN visit b ON TRUE
-- accept: a cross join whose WHERE ties the patient is an inner join
SELECT COUNT(*) FROM person p CROSS JOIN visit v WHERE p.person_id = v.person_id
-- accept: commas and WHERE
SELECT COUNT(*) FROM person p, visit v WHERE p.person_id = v.person_id AND v.kind = 'AMB'
-- refuse CROSS_JOIN_PRIVATE: commas without WHERE
SELECT COUNT(*) FROM person p, visit v
-- refuse CROSS_JOIN_PRIVATE: commas, and a WHERE about one side
SELECT COUNT(*) FROM person p, visit v WHERE v.kind = 'AMB'
-- refuse CROSS_JOIN_PRIVATE: commas, and an equality that need not hold
SELECT COUNT(*) FROM person p, visit v WHERE p.county = v.kind OR p.person_id = v.person_id
-- accept: three tables by commas, tied through the middle one
SELECT COUNT(*) FROM person p, visit v, death x WHERE p.person_id = v.person_id AND v.person_id = x.person_id
-- accept: what follows from the equalities ties tables that are not named together
SELECT COUNT(*) FROM death x, person p, visit v WHERE x.person_id = v.person_id AND p.person_id = v.person_id
-- refuse CROSS_JOIN_PRIVATE: the third table is not tied
SELECT COUNT(*) FROM person p, visit v, death x WHERE p.person_id = v.person_id
-- accept: three tables by JOIN
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id JOIN drug d ON d.person_id = v.person_id AND d.visit_id = v.visit_id
-- accept: a join in parentheses is one side
SELECT COUNT(*) FROM person p JOIN (visit v JOIN drug d ON v.person_id = d.person_id) ON p.person_id = d.person_id
-- refuse TOO_MUCH_WORK: three tables of 200 rows a patient would make 8,000,000
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id JOIN drug d ON d.person_id = a.person_id
-- accept: a table aggregated by patient has one row to meet
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id JOIN (SELECT person_id, MAX(days) m FROM drug GROUP BY person_id) d ON d.person_id = a.person_id
-- accept: rows of a patient grouped by more are met one by one on all of it
SELECT COUNT(*) FROM visit a JOIN visit b ON a.person_id = b.person_id JOIN (SELECT person_id, day, COUNT(*) n FROM drug GROUP BY person_id, day) d ON d.person_id = a.person_id AND d.day = a.day
-- accept: LEFT JOIN keeps the patient of its left side
SELECT p.sex, COUNT(*) FROM person p LEFT JOIN visit v ON p.person_id = v.person_id GROUP BY p.sex
-- accept: conditions in ON of a LEFT JOIN make no row go away
SELECT COUNT(*) FROM person p LEFT JOIN visit v ON p.person_id = v.person_id AND v.kind = 'IMP'
-- accept: a condition over both sides of a LEFT JOIN makes no row go away, whether the patient has rows there or not
SELECT p.sex, COUNT(*) FROM person p LEFT JOIN visit v ON p.person_id = v.person_id AND v.day > make_date(p.born + 65, 1, 1) GROUP BY p.sex
-- accept: what such a LEFT JOIN found
SELECT COUNT(v.day) FROM person p LEFT JOIN visit v ON p.person_id = v.person_id AND v.day > make_date(p.born + 65, 1, 1)
-- accept: two columns of a LEFT JOIN's right side that are never NULL where they are stored, and one of its left
SELECT COUNT(*) FROM visit v LEFT JOIN drug d ON v.person_id = d.person_id AND d.day > v.day AND d.code <> v.kind
-- accept: a condition over both sides of a RIGHT JOIN
SELECT COUNT(*) FROM death x RIGHT JOIN visit v ON v.person_id = x.person_id AND x.died > v.day
-- accept: an anti-join by such a condition
SELECT COUNT(*) FROM person p LEFT JOIN death x ON p.person_id = x.person_id AND x.died < make_date(p.born + 70, 1, 1) WHERE x.person_id IS NULL
-- accept: an anti-join by a second equality of columns that nothing above reads
SELECT COUNT(*) FROM visit v LEFT JOIN drug d ON v.person_id = d.person_id AND v.visit_id = d.visit_id AND d.day = v.day WHERE d.person_id IS NULL
-- accept: NOT EXISTS by a condition over both sides
SELECT COUNT(*) FROM visit v WHERE NOT EXISTS (SELECT 1 FROM drug d WHERE d.person_id = v.person_id AND d.day > v.day)
-- accept: what is NULL after a LEFT JOIN is not counted
SELECT COUNT(x.died) FROM person p LEFT JOIN death x ON p.person_id = x.person_id
-- accept: LEFT JOIN and IS NULL is an anti-join
SELECT COUNT(*) FROM person p LEFT JOIN death x ON p.person_id = x.person_id WHERE x.person_id IS NULL
-- accept: LEFT JOIN USING gives the left side's patient
SELECT COUNT(DISTINCT person_id) FROM person LEFT JOIN visit USING (person_id)
-- accept: RIGHT JOIN keeps the patient of its right side
SELECT COUNT(*) FROM death x RIGHT JOIN person p ON p.person_id = x.person_id
-- accept: several LEFT JOINs of one preserved patient
SELECT COUNT(*) FROM person p LEFT JOIN death x ON p.person_id = x.person_id LEFT JOIN visit v ON v.person_id = p.person_id
-- refuse OUTER_JOIN_NULLS_PRIVATE: the next join uses a patient that may be NULL
SELECT COUNT(*) FROM person p LEFT JOIN death x ON p.person_id = x.person_id JOIN visit v ON v.person_id = x.person_id
-- refuse OUTER_JOIN_NULLS_PRIVATE: the same through a sub-query in FROM
SELECT COUNT(*) FROM (SELECT x.person_id FROM person p LEFT JOIN death x ON p.person_id = x.person_id) t JOIN visit v ON v.person_id = t.person_id
-- refuse OUTER_JOIN_NULLS_PRIVATE: patients that may be NULL are counted
SELECT COUNT(DISTINCT x.person_id) FROM person p LEFT JOIN death x ON p.person_id = x.person_id
-- accept: the preserved side's patients are counted
SELECT COUNT(DISTINCT p.person_id) FROM person p LEFT JOIN death x ON p.person_id = x.person_id
-- refuse UNIT_IN_OUTPUT: a patient that may be NULL is still a patient
SELECT COUNT(*) FROM person p LEFT JOIN death x ON p.person_id = x.person_id GROUP BY x.person_id
-- refuse CROSS_JOIN_PRIVATE: WHERE ties nothing below a LEFT JOIN
SELECT COUNT(*) FROM person p LEFT JOIN visit v ON TRUE WHERE p.person_id = v.person_id
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: a LEFT JOIN on something else, tied too late
SELECT COUNT(*) FROM person p LEFT JOIN visit v ON p.county = v.kind WHERE p.person_id = v.person_id
-- refuse OUTER_JOIN_NULLS_PRIVATE: FULL JOIN of patients
SELECT COUNT(*) FROM person p FULL JOIN death x ON p.person_id = x.person_id
-- refuse OUTER_JOIN_NULLS_PRIVATE: FULL JOIN with USING
SELECT COUNT(*) FROM person FULL JOIN death USING (person_id)
-- accept: public rows to look up
SELECT r.name, COUNT(*) FROM person p JOIN region r ON p.county = r.region_code GROUP BY r.name
-- accept: public rows on the nullable side
SELECT COUNT(*) FROM person p LEFT JOIN region r ON p.county = r.region_code AND r.people > 5
-- accept: the same from the other side
SELECT COUNT(*) FROM region r RIGHT JOIN person p ON p.county = r.region_code
-- refuse OUTER_JOIN_NULLS_PRIVATE: public rows are kept without a patient
SELECT COUNT(*) FROM region r LEFT JOIN person p ON p.county = r.region_code
-- refuse OUTER_JOIN_NULLS_PRIVATE: the same from the other side
SELECT COUNT(*) FROM person p RIGHT JOIN region r ON p.county = r.region_code
-- refuse OUTER_JOIN_NULLS_PRIVATE: and from both
SELECT COUNT(*) FROM person p FULL JOIN region r ON p.county = r.region_code
-- accept: patients meet every public row
SELECT COUNT(*) FROM person p CROSS JOIN region r
-- accept: patients meet public rows by an inequality
SELECT COUNT(*) FROM person p JOIN region r ON p.county <> r.region_code
-- accept: a calendar met by its day
SELECT c.year, COUNT(*) FROM visit v JOIN calendar c ON c.day = v.day GROUP BY c.year
-- accept: one patient's row and every day of its year
SELECT COUNT(*) FROM death x JOIN calendar c ON c.year = year(x.died)
-- accept: public rows joined among themselves
SELECT COUNT(*) FROM person p JOIN (SELECT a.region_code, b.name FROM region a JOIN region b ON b.region_code = a.parent) r ON r.region_code = p.county
-- accept: a public FULL JOIN holds no patient
SELECT COUNT(*) FROM person p JOIN (SELECT coalesce(a.region_code, b.parent) k FROM region a FULL JOIN region b ON a.region_code = b.parent) r ON r.k = p.county
-- accept: a public group-by is met by its key
SELECT COUNT(*) FROM visit v JOIN (SELECT year, COUNT(*) n FROM calendar GROUP BY year) c ON c.year = year(v.day)
-- accept: a public aggregate without keys is one row
SELECT COUNT(*) FROM visit v CROSS JOIN (SELECT MAX(people) most FROM region) r WHERE r.most > 5
-- accept: LEFT SEMI JOIN on the patient
SELECT COUNT(*) FROM person p LEFT SEMI JOIN visit v ON p.person_id = v.person_id
-- accept: LEFT ANTI JOIN on the patient
SELECT COUNT(*) FROM person p LEFT ANTI JOIN visit v ON p.person_id = v.person_id
-- accept: RIGHT SEMI JOIN keeps its right side
SELECT COUNT(*) FROM visit v RIGHT SEMI JOIN person p ON p.person_id = v.person_id
-- accept: RIGHT ANTI JOIN keeps its right side
SELECT COUNT(*) FROM visit v RIGHT ANTI JOIN person p ON p.person_id = v.person_id AND v.kind = 'IMP'
-- refuse PRIVATE_SUBQUERY_IN_EXPR: a patient is picked by others who share an attribute
SELECT COUNT(*) FROM person p LEFT SEMI JOIN person q ON p.county = q.county
-- refuse PRIVATE_SUBQUERY_IN_EXPR: or dropped by them
SELECT COUNT(*) FROM person p LEFT ANTI JOIN visit v ON p.county = v.kind
-- refuse PRIVATE_SUBQUERY_IN_EXPR: public rows are picked by patients
SELECT COUNT(*) FROM region r LEFT SEMI JOIN person p ON p.county = r.region_code
-- accept: patients picked by public rows
SELECT COUNT(*) FROM person p LEFT SEMI JOIN region r ON p.county = r.region_code AND r.people > 5
-- refuse TOO_MUCH_WORK: each of a patient's rows is compared with every pair of days
SELECT COUNT(*) FROM visit v LEFT SEMI JOIN (SELECT c.day FROM calendar c JOIN calendar d ON d.year = c.year AND d.month = c.month) x ON x.day > v.day
-- refuse NESTED_DP: a released count meets patients again
SELECT COUNT(*) FROM person p JOIN (SELECT county, COUNT(*) n FROM person GROUP BY county) t ON t.county = p.county
