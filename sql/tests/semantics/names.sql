-- accept: the patient under another name is the patient
SELECT COUNT(*) FROM person p JOIN (SELECT person_id AS who FROM visit) v ON v.who = p.person_id
-- accept: the patient under two names
SELECT COUNT(*) FROM (SELECT person_id AS a, person_id AS b FROM person) p JOIN visit v ON v.person_id = p.b
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: another column under the patient's name is not the patient
SELECT COUNT(*) FROM person p JOIN (SELECT visit_id AS person_id FROM visit) v ON v.person_id = p.person_id
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: two columns that change names
SELECT COUNT(*) FROM person p JOIN (SELECT visit_id AS person_id, person_id AS visit_id FROM visit) v ON v.person_id = p.person_id
-- accept: the same two columns, tied by what holds the patient
SELECT COUNT(*) FROM person p JOIN (SELECT visit_id AS person_id, person_id AS visit_id FROM visit) v ON v.visit_id = p.person_id
-- refuse PRIVATE_JOIN_NOT_ON_UNIT: a quoted alias is an alias
SELECT COUNT(*) FROM person p JOIN (SELECT born AS "person_id" FROM person) v ON v."person_id" = p.person_id
-- accept: distinct values of another column that takes the patient's name
SELECT COUNT(DISTINCT person_id) FROM (SELECT visit_id AS person_id FROM visit) t
-- refuse UNIT_IN_OUTPUT: the patient under another name, as a key
SELECT who, COUNT(*) FROM (SELECT person_id AS who FROM visit) t GROUP BY who
-- refuse UNIT_IN_OUTPUT: the patient under another name, in an expression
SELECT COUNT(*) FROM (SELECT person_id AS who FROM visit) t GROUP BY CASE WHEN who > 10 THEN 1 ELSE 0 END
-- accept: quoted identifiers as they are written
SELECT "county", COUNT(*) FROM "person" GROUP BY "county"
-- accept: unquoted names in any case
SELECT County, COUNT(*) FROM PERSON GROUP BY COUNTY
-- refuse UNKNOWN_NAME: a quoted name in another case is another name
SELECT COUNT(*) FROM "Person"
-- refuse UNKNOWN_NAME: a quoted column in another case
SELECT COUNT(*) FROM person WHERE "County" = 'A'
-- accept: a quoted alias with a space
SELECT "which county", COUNT(*) FROM (SELECT county AS "which county" FROM person) t GROUP BY "which county"
-- accept: an alias that is a table's name
SELECT COUNT(*) FROM visit AS person WHERE person.kind = 'IMP'
-- accept: two tables that change names
SELECT COUNT(*) FROM visit AS drug JOIN drug AS visit ON drug.person_id = visit.person_id AND visit.code = 'a'
-- refuse UNKNOWN_NAME: two tables of one name
SELECT COUNT(*) FROM visit a JOIN drug a ON a.person_id = a.person_id
-- refuse UNKNOWN_NAME: a column of several tables without its table
SELECT COUNT(*) FROM person p JOIN visit v ON person_id = v.person_id
-- accept: a column that one table alone has needs no table
SELECT COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id WHERE kind = 'AMB' AND sex = 'f'
-- accept: aliases for a table's columns
SELECT COUNT(*) FROM death AS x(who, since) JOIN person p ON p.person_id = x.who WHERE since > DATE '2019-06-01'
-- refuse UNKNOWN_NAME: a table's own name is hidden by its alias
SELECT COUNT(*) FROM person p WHERE person.sex = 'f'
-- refuse UNKNOWN_NAME by text: names that begin with two underscores are the engine's
SELECT COUNT(*) FROM (SELECT county AS __unit_1 FROM person) t
-- accept: an alias that is a column's name, and hides it outside
SELECT county, COUNT(*) FROM (SELECT sex AS county FROM person) t GROUP BY county
-- accept: an alias of the SELECT list does not hide a column in WHERE
SELECT sex AS county, COUNT(*) FROM person WHERE county = 'A' GROUP BY sex
-- accept: ORDER BY and GROUP BY know the aliases of the SELECT list
SELECT year(day) AS y, COUNT(*) AS n FROM visit GROUP BY y ORDER BY n
-- accept: GROUP BY knows the places of the SELECT list
SELECT sex, county, COUNT(*) FROM person GROUP BY 1, 2
-- refuse UNKNOWN_NAME: a schema before a table
SELECT COUNT(*) FROM main.person
