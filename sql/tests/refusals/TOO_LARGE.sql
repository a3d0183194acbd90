-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county = '{{70000:x}}'
-- refuse: (any)
SELECT {{300:(}}COUNT(*){{300:)}} FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE {{5000:1=1 AND }} 1=1
-- refuse: (any)
WITH a AS (SELECT * FROM person), b AS (SELECT x.person_id FROM a x JOIN a y USING (person_id) JOIN a z USING (person_id) JOIN a w USING (person_id)), c AS (SELECT x.person_id FROM b x JOIN b y USING (person_id) JOIN b z USING (person_id) JOIN b w USING (person_id)), d AS (SELECT x.person_id FROM c x JOIN c y USING (person_id) JOIN c z USING (person_id) JOIN c w USING (person_id)), e AS (SELECT x.person_id FROM d x JOIN d y USING (person_id)) SELECT COUNT(*) FROM e
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE NOT {{4000:NOT }} TRUE
-- accept
SELECT COUNT(*) FROM person WHERE {{40:county = '25017' OR }} gender = 'female'
-- accept
SELECT COUNT(*) FROM person WHERE county IN ('25017'{{1000:, 'x'}})
-- refuse: (any)
SELECT COUNT(*) AS n{{64000:n}} FROM person WHERE county = '{{2000:x}}'
-- refuse: (any)
SELECT {{10000:(}}1{{10000:)}} FROM person
-- refuse: (any)
SELECT {{100000:1,}} 1 FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE {{9000:county = 'x' OR }} TRUE
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE year_of_birth = {{700:1 + }} 1
-- refuse: (any)
{{200:SELECT * FROM (}} SELECT COUNT(*) FROM person {{200:)}}
-- refuse: (any)
{{200:(}}SELECT COUNT(*) FROM person{{200:)}}
-- refuse: (any)
SELECT COUNT(*) FROM person {{80:UNION ALL SELECT COUNT(*) FROM person }}
