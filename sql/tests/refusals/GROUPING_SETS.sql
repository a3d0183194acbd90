-- refuse: (any)
SELECT county, gender, COUNT(*) FROM person GROUP BY ROLLUP (county, gender)
-- refuse: (any)
SELECT county, gender, COUNT(*) FROM person GROUP BY GROUPING SETS ((county), (gender))
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY CUBE (county)
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county WITH ROLLUP
-- accept
SELECT county, gender, COUNT(*) FROM person GROUP BY county, gender
-- accept
SELECT county, gender, COUNT(*) FROM person GROUP BY 1, 2
