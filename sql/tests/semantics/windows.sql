-- accept: a patient's first row
SELECT kind, COUNT(*) FROM (SELECT person_id, kind, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day, visit_id) n FROM visit) t WHERE n = 1 GROUP BY kind
-- accept: rows that tie by the written order are told apart by the whole row, and there is one first row either way
SELECT COUNT(*) FROM (SELECT person_id, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY kind) n FROM visit) t WHERE n = 1
-- accept: no order at all is the order of the whole row
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id) n FROM visit) t WHERE n <= 2
-- accept: ties have the same rank
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id ORDER BY kind) r FROM visit) t GROUP BY r
-- accept: ranks without gaps
SELECT r, COUNT(*) FROM (SELECT DENSE_RANK() OVER (PARTITION BY person_id ORDER BY kind DESC) r FROM visit) t GROUP BY r
-- accept: without an order all rows are peers, and of rank 1
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id) r FROM visit) t GROUP BY r
-- accept: a frame changes no rank
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id ORDER BY kind ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) r FROM visit) t GROUP BY r
-- accept: the row before
SELECT COUNT(gap) FROM (SELECT day - LAG(day) OVER (PARTITION BY person_id ORDER BY day) gap FROM visit) t WHERE gap > 30
-- accept: the row after the next
SELECT COUNT(*) FROM (SELECT LEAD(day, 2) OVER (PARTITION BY person_id ORDER BY day) later FROM visit) t WHERE later IS NULL
-- accept: a default where there is no such row, of the value's own type
SELECT COUNT(*) FROM (SELECT LAG(day, 1, '2019-01-01') OVER (PARTITION BY person_id ORDER BY day) before FROM visit) t WHERE before < DATE '2019-06-01'
-- accept: an offset of 0 is the row itself
SELECT COUNT(*) FROM (SELECT day, LAG(day, 0) OVER (PARTITION BY person_id ORDER BY day) same FROM visit) t WHERE same = day
-- refuse NON_TOTAL_FN: an offset past any patient's rows
SELECT COUNT(*) FROM (SELECT LAG(day, 9223372036854775807) OVER (PARTITION BY person_id ORDER BY day) b FROM visit) t
-- refuse NON_TOTAL_FN: an offset backwards
SELECT COUNT(*) FROM (SELECT LEAD(day, -1) OVER (PARTITION BY person_id ORDER BY day) b FROM visit) t
-- refuse NON_TOTAL_FN: an offset that a row decides
SELECT COUNT(*) FROM (SELECT LAG(day, visit_id) OVER (PARTITION BY person_id ORDER BY day) b FROM visit) t
-- refuse TYPE_MISMATCH: a default that is no date
SELECT COUNT(*) FROM (SELECT LAG(day, 1, 'never') OVER (PARTITION BY person_id ORDER BY day) b FROM visit) t
-- refuse NON_TOTAL_FN: a default that a row decides
SELECT COUNT(*) FROM (SELECT LAG(cost, 1, cost) OVER (PARTITION BY person_id ORDER BY day) b FROM visit) t
-- accept: the first value of the whole partition
SELECT first, COUNT(*) FROM (SELECT DISTINCT person_id, FIRST_VALUE(kind) OVER (PARTITION BY person_id ORDER BY day, visit_id) first FROM visit) t GROUP BY first
-- accept: the last value of the whole partition
SELECT COUNT(*) FROM (SELECT day, LAST_VALUE(day) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) last FROM visit) t WHERE day = last
-- accept: a count of the patient's rows beside each of them
SELECT n, COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id) n FROM visit) t GROUP BY n
-- accept: a running count takes all peers at once
SELECT n, COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY kind) n FROM visit) t GROUP BY n
-- accept: a frame by rows
SELECT COUNT(*) FROM (SELECT SUM(cost) OVER (PARTITION BY person_id ORDER BY day, visit_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) s FROM visit) t WHERE s > 100
-- accept: the greatest of all rows before
SELECT COUNT(*) FROM (SELECT cost, MAX(cost) OVER (PARTITION BY person_id ORDER BY day, visit_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) m FROM visit) t WHERE cost > m
-- accept: the least of the rows to come
SELECT COUNT(m) FROM (SELECT MIN(day) OVER (PARTITION BY person_id ORDER BY day, visit_id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) m FROM visit) t
-- accept: groups of peers up to the current one
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) n FROM visit) t WHERE n > 3
-- accept: a mean of decimals
SELECT COUNT(*) FROM (SELECT cost, AVG(cost) OVER (PARTITION BY person_id) m FROM visit) t WHERE cost > m
-- refuse AGG_UNSUPPORTED: a mean of whole numbers would be summed as floats, whose sum depends on their order
SELECT COUNT(*) FROM (SELECT AVG(days) OVER (PARTITION BY person_id) m FROM drug) t WHERE m > 5
-- refuse AGG_UNSUPPORTED: a range of values may overflow at its ends
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW) n FROM visit) t
-- refuse NON_TOTAL_FN: a frame that begins after its end
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING) n FROM visit) t
-- refuse NON_TOTAL_FN: a frame past any patient's rows
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id ORDER BY day ROWS BETWEEN 9999999 PRECEDING AND CURRENT ROW) n FROM visit) t
-- refuse WINDOW_NOT_BY_UNIT: no partition
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (ORDER BY day) n FROM visit) t WHERE n = 1
-- refuse WINDOW_NOT_BY_UNIT: a partition of several patients
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY county) n FROM person) t WHERE n > 3
-- accept: the patient and more among the keys of the partition
SELECT n, COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY kind, person_id) n FROM visit) t GROUP BY n
-- accept: the patient and more among the keys, where a patient has one row
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id, n ORDER BY last) r, COUNT(*) OVER (PARTITION BY n, person_id) c FROM (SELECT person_id, COUNT(*) n, MAX(day) last FROM visit GROUP BY person_id) a) t WHERE r = 1 AND c = 1
-- accept: keys that are unique and more among the keys
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY n, kind, person_id ORDER BY last) r FROM (SELECT person_id, kind, COUNT(*) n, MAX(day) last FROM visit GROUP BY person_id, kind) a) t GROUP BY r
-- accept: ranks in two orders over groups whose columns stand elsewhere
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id, n ORDER BY kind) r, ROW_NUMBER() OVER (PARTITION BY person_id, n ORDER BY last, kind) q FROM (SELECT person_id, n, last, kind FROM (SELECT person_id, kind, COUNT(*) n, MAX(day) last FROM visit GROUP BY person_id, kind) a) b) t WHERE r < q
-- accept: a count and a rank of groups of a patient
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id, n ORDER BY last, kind) r, COUNT(*) OVER (PARTITION BY n, person_id) c FROM (SELECT person_id, kind, COUNT(*) n, MAX(day) last FROM visit GROUP BY person_id, kind) a) t WHERE r = 1 AND c = 1
-- refuse WINDOW_NOT_BY_UNIT: an expression of the patient is not the patient
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id % 10 ORDER BY day) n FROM visit) t
-- refuse WINDOW_NOT_BY_UNIT: a patient that may be NULL gathers all who have none
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY x.person_id) n FROM person p LEFT JOIN death x ON p.person_id = x.person_id) t WHERE n > 1
-- refuse WINDOW_NOT_BY_UNIT: another column under the patient's name
SELECT COUNT(*) FROM (SELECT COUNT(*) OVER (PARTITION BY person_id) n FROM (SELECT visit_id AS person_id FROM visit) u) t
-- refuse WINDOW_NOT_BY_UNIT: one of two windows
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day) a, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY day) b FROM visit) t
-- accept: windows of one written order, one of which is completed by the whole row
SELECT r, COUNT(*) FROM (SELECT RANK() OVER (PARTITION BY person_id ORDER BY kind) r, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY kind) n, COUNT(*) OVER (PARTITION BY person_id ORDER BY kind) c FROM visit) t WHERE n <= 3 AND c > 1 GROUP BY r
-- refuse WINDOW_NOT_BY_UNIT: a window inside a WITH
WITH w AS (SELECT person_id, COUNT(*) OVER (PARTITION BY county) AS n FROM person) SELECT AVG(n) FROM w
-- accept: a window has a name
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER w n FROM visit WINDOW w AS (PARTITION BY person_id ORDER BY day)) t WHERE n = 1
-- accept: a window over a window, as spells of illness are built
SELECT spells, COUNT(*) FROM (SELECT person_id, SUM(fresh) spells FROM (SELECT person_id, CASE WHEN day - LAG(day) OVER (PARTITION BY person_id ORDER BY day) <= 90 THEN 0 ELSE 1 END fresh FROM visit) a GROUP BY person_id) b GROUP BY spells
-- accept: a window over a join
SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (PARTITION BY p.person_id ORDER BY v.day) n FROM person p JOIN visit v ON p.person_id = v.person_id WHERE p.sex = 'f') t WHERE n = 1
-- accept: a window over a union
SELECT what, COUNT(*) FROM (SELECT what, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day, what) n FROM (SELECT person_id, day, 'visit' what FROM visit UNION ALL SELECT person_id, day, 'drug' FROM drug) u) t WHERE n = 1 GROUP BY what
-- accept: a window over a per-patient group-by
SELECT COUNT(*) FROM (SELECT kind, n, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY n DESC, kind) r FROM (SELECT person_id, kind, COUNT(*) n FROM visit GROUP BY person_id, kind) a) t WHERE r = 1 AND kind = 'AMB'
-- accept: QUALIFY
SELECT COUNT(*) FROM (SELECT person_id, day FROM visit QUALIFY ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day) = 1) t
-- accept: QUALIFY by the name of a window
SELECT COUNT(*) FROM (SELECT person_id, RANK() OVER (PARTITION BY person_id ORDER BY day) r FROM visit QUALIFY r <= 2) t
-- refuse WINDOW_NOT_BY_UNIT: QUALIFY over several patients
SELECT COUNT(*) FROM (SELECT person_id FROM visit QUALIFY ROW_NUMBER() OVER (ORDER BY day) <= 10) t
-- accept: DISTINCT ON the patient is the first row of each
SELECT COUNT(*) FROM (SELECT DISTINCT ON (person_id) person_id, kind FROM visit ORDER BY person_id, day, visit_id) t WHERE kind = 'AMB'
-- accept: DISTINCT ON the patient and more
SELECT COUNT(*) FROM (SELECT DISTINCT ON (person_id, kind) person_id, kind, day FROM visit ORDER BY person_id, kind, day) t
-- refuse LIMIT_OR_SAMPLE_BEFORE_AGG: DISTINCT ON something else picks one of several patients' rows
SELECT COUNT(*) FROM (SELECT DISTINCT ON (kind) kind, person_id FROM visit ORDER BY kind, day) t
-- refuse AGG_UNSUPPORTED: IGNORE NULLS
SELECT COUNT(*) FROM (SELECT LAG(cost) IGNORE NULLS OVER (PARTITION BY person_id ORDER BY day) c FROM visit) t
-- accept: RESPECT NULLS is what is done anyway
SELECT COUNT(c) FROM (SELECT LAG(cost) RESPECT NULLS OVER (PARTITION BY person_id ORDER BY day, visit_id) c FROM visit) t
-- refuse AGG_UNSUPPORTED by text: a window function that is not of the dialect
SELECT COUNT(*) FROM (SELECT NTILE(4) OVER (PARTITION BY person_id ORDER BY day) n FROM visit) t
-- refuse AGG_UNSUPPORTED: a fraction of rows
SELECT COUNT(*) FROM (SELECT PERCENT_RANK() OVER (PARTITION BY person_id ORDER BY day) n FROM visit) t
-- refuse AGG_UNSUPPORTED: an aggregate that depends on the order of rows
SELECT COUNT(*) FROM (SELECT COUNT(DISTINCT kind) OVER (PARTITION BY person_id) n FROM visit) t
-- accept: windows over released numbers may look at all of them
SELECT county, n, RANK() OVER (ORDER BY n DESC) r FROM (SELECT county, COUNT(*) n FROM person GROUP BY county) t
-- refuse ROW_LEVEL_OUTPUT: a window gives rows
SELECT kind, ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY day) FROM visit
-- accept: the value of a whole-partition window follows from the patient
SELECT year(first), COUNT(DISTINCT person_id) FROM (SELECT person_id, MIN(day) OVER (PARTITION BY person_id) first FROM visit) t GROUP BY year(first)
