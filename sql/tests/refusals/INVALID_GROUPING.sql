-- refuse: county
SELECT county, COUNT(*) FROM person
-- refuse: gender
SELECT gender, COUNT(*) FROM person GROUP BY county
-- accept
SELECT county, COUNT(*) FROM person GROUP BY county HAVING COUNT(*) > 10 ORDER BY COUNT(*) DESC
