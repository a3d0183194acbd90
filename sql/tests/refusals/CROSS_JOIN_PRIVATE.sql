-- refuse: person b
SELECT COUNT(*) FROM person a CROSS JOIN person b
-- refuse: visit_occurrence b
SELECT COUNT(*) FROM person a, visit_occurrence b
-- refuse: (any)
SELECT COUNT(*) FROM person a JOIN death b ON TRUE
-- accept
SELECT COUNT(*) FROM person a CROSS JOIN region r
-- accept
SELECT COUNT(*) FROM person a, death b WHERE b.person_id = a.person_id
