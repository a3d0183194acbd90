-- refuse: patients
SELECT COUNT(*) FROM patients
-- refuse: name
SELECT name, COUNT(*) FROM person GROUP BY name
-- refuse: no_such_function
SELECT no_such_function(county), COUNT(*) FROM person GROUP BY 1
-- refuse: "Person"
SELECT COUNT(*) FROM "Person"
-- refuse: _consent
SELECT _consent, COUNT(*) FROM person GROUP BY _consent
-- refuse: _transaction
SELECT COUNT(*) FROM person WHERE _transaction > 5
-- refuse: person_id
SELECT COUNT(*) FROM person p JOIN death d ON p.person_id = d.person_id WHERE person_id > 1
-- refuse: main.person
SELECT COUNT(*) FROM main.person
-- refuse: __unit_1
SELECT COUNT(*) FROM (SELECT county AS __unit_1 FROM person) WHERE __unit_1 = 'x'
-- refuse: $since
SELECT COUNT(*) FROM visit_occurrence WHERE visit_start_date > $since
-- accept
SELECT COUNT(*) FROM "person" WHERE "county" = '25017'
-- accept
SELECT COUNT(*) FROM PERSON WHERE County = '25017'
-- refuse: "County"
SELECT "County", COUNT(*) FROM person GROUP BY 1
-- refuse: conuty
SELECT conuty, COUNT(*) FROM person GROUP BY conuty
-- refuse: gendr
SELECT COUNT(*) FROM person p WHERE p.gendr = 'female'
-- refuse: visit_ocurrence
SELECT COUNT(*) FROM visit_ocurrence
-- refuse: coalese
SELECT coalese(county, 'x'), COUNT(*) FROM person GROUP BY 1
-- refuse: "female"
SELECT COUNT(*) FROM person WHERE gender = "female"
-- refuse: n
SELECT county, COUNT(*) AS n FROM person WHERE n > 3 GROUP BY county
-- refuse: _transaction
SELECT SUM(_transaction) FROM visit_occurrence
-- refuse: (any)
SELECT COUNT(*) FROM person p WHERE person.county = '25017'
-- refuse: (any)
SELECT COUNT(*) FROM "__noisy"
-- refuse: (any)
SELECT COUNT(*) FROM person AS __cells
-- refuse: (any)
SELECT * FROM __noisy
-- refuse: (any)
SELECT COUNT(*) FROM research.public.person
-- refuse: (any)
SELECT COUNT(*) FROM person, person
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE DATEDIFF(day, county, gender) > 3
-- accept
SELECT "p"."county", COUNT(*) FROM person AS "p" GROUP BY "p"."county"
-- accept
SELECT COUNT(*) AS county FROM person
-- accept
WITH person AS (SELECT * FROM person) SELECT COUNT(*) FROM person
-- accept
SELECT x.g, COUNT(*) FROM (SELECT person_id, gender FROM person) AS x(pid, g) GROUP BY x.g
