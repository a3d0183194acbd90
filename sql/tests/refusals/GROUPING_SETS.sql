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
-- refuse: (any)
SELECT COUNT(*) FROM person GROUP BY ROLLUP (county), gender
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county WITH CUBE
-- refuse: (any)
SELECT COUNT(*) FROM person GROUP BY GROUPING SETS (())
-- accept
SELECT year_of_birth / 10 AS decade, COUNT(*) FROM person GROUP BY decade
-- accept
SELECT upper(gender) AS g, COUNT(*) FROM person GROUP BY upper(gender)
-- accept
SELECT county, gender, COUNT(*) FROM person GROUP BY ALL
-- accept
SELECT COUNT(*) FROM person GROUP BY county
-- accept
SELECT gender AS county, COUNT(*) FROM person GROUP BY gender
-- accept
SELECT COUNT(*) FROM person HAVING COUNT(*) > 10
