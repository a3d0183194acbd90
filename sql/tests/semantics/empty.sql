-- accept: no rows are counted as 0
SELECT COUNT(*) FROM nobody
-- accept: no rows for any key
SELECT year(day), COUNT(*) FROM nobody GROUP BY year(day)
-- accept: an inner join to no rows
SELECT COUNT(*) FROM person p JOIN nobody n ON p.person_id = n.person_id
-- accept: a LEFT JOIN to no rows
SELECT sex, COUNT(*) FROM person p LEFT JOIN nobody n ON p.person_id = n.person_id GROUP BY sex
-- accept: IN an empty list
SELECT COUNT(*) FROM person WHERE person_id IN (SELECT person_id FROM nobody)
-- accept: NOT IN an empty list keeps everyone
SELECT COUNT(*) FROM person WHERE person_id NOT IN (SELECT person_id FROM nobody)
-- accept: a condition that never holds
SELECT COUNT(*) FROM visit WHERE FALSE
-- accept: a condition that is never known
SELECT COUNT(*) FROM visit WHERE NULL
-- accept: a NULL is not counted
SELECT COUNT(what) FROM noted
-- accept: a row with a NULL is counted
SELECT COUNT(*) FROM noted
-- accept: NULL equals nothing
SELECT COUNT(*) FROM noted a JOIN noted b ON a.person_id = b.person_id AND a.what = b.what
-- accept: NULL is not distinct from NULL
SELECT COUNT(*) FROM noted a JOIN noted b ON a.person_id = b.person_id AND a.what IS NOT DISTINCT FROM b.what
-- accept: DISTINCT takes NULL like NULL
SELECT COUNT(*) FROM (SELECT DISTINCT person_id, what FROM noted) t
-- accept: a NULL made a key by the text
SELECT coalesce(what, 'none') w, COUNT(*) FROM noted GROUP BY coalesce(what, 'none')
-- accept: the least of NULLs is NULL
SELECT COUNT(m) FROM (SELECT person_id, MIN(what) m FROM noted GROUP BY person_id) t
-- accept: a count of NULLs is 0 for each patient
SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(what) n FROM noted GROUP BY person_id) t GROUP BY n
-- accept: windows over no rows
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day) n FROM nobody) t WHERE n = 1
-- accept: windows over NULLs, where all rows tie
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id ORDER BY what) r FROM noted) t GROUP BY r
-- accept: the row before a NULL
SELECT COUNT(*) FROM (SELECT LAG(what, 1, 'first') OVER (PARTITION BY person_id ORDER BY what) b FROM noted) t WHERE b = 'first'
-- accept: NOT EXISTS of no rows
SELECT COUNT(*) FROM person p WHERE NOT EXISTS (SELECT 1 FROM nobody n WHERE n.person_id = p.person_id)
-- accept: a scalar of no rows is NULL, and NULL is not greater
SELECT COUNT(*) FROM person p WHERE (SELECT MAX(n.day) FROM nobody n WHERE n.person_id = p.person_id) > DATE '2019-01-01'
-- accept: a sum of no rows
SELECT SUM(cost) FROM visit WHERE kind = 'none'
-- accept: UNION ALL with no rows
SELECT COUNT(*) FROM (SELECT person_id FROM death UNION ALL SELECT person_id FROM nobody) t
-- accept: EXCEPT from no rows
SELECT COUNT(*) FROM (SELECT person_id FROM nobody EXCEPT SELECT person_id FROM person) t
-- accept: equal rows of one patient are two rows
SELECT COUNT(*) FROM (SELECT person_id, kind FROM visit UNION ALL SELECT person_id, kind FROM visit) t
