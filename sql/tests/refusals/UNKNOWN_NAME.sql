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
