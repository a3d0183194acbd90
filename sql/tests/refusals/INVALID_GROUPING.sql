-- refuse: county
SELECT county, COUNT(*) FROM person
-- refuse: gender
SELECT gender, COUNT(*) FROM person GROUP BY county
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county HAVING COUNT(*) > 10 ORDER BY COUNT(*) DESC
-- refuse: (any)
SELECT * FROM person GROUP BY county
-- refuse: (any)
SELECT county FROM person GROUP BY gender
-- refuse: (any)
SELECT COUNT(*) FROM person GROUP BY 7
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY 0
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county HAVING gender = 'female'
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county ORDER BY gender
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county ORDER BY 5
-- refuse: (any)
SELECT year_of_birth + 1, COUNT(*) FROM person GROUP BY county
-- accept
SELECT year_of_birth + 1, COUNT(*) FROM person GROUP BY year_of_birth
-- accept
SELECT county AS c, COUNT(*) AS n FROM person GROUP BY c HAVING n > 10 ORDER BY 2 DESC NULLS LAST, c
-- accept
SELECT DISTINCT gender FROM person ORDER BY gender LIMIT 2
