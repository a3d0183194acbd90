-- refuse: (any)
SELECT COUNT(*) FROM
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county = 'unclosed
-- refuse: SELEC
SELEC COUNT(*) FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person FETCH FIRST 5 ROWS ONLY
-- accept
SELECT COUNT(*) FROM person -- a comment; with a semicolon
-- refuse: (any)

-- refuse: (any)
 ; 
-- refuse: (any)
/* nothing */
-- refuse: (any)
SELECT COUNT(*) FROM person /* never closed
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE
-- refuse: (any)
SELECT COUNT(* FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county IN ()
-- refuse: (any)
SELECT FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person GROUP BY
-- refuse: (any)
SELECT COUNT(*) COUNT(*) FROM person
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county == 
-- refuse: (any)
SELECT COUNT(*) FROM person LIMIT
-- refuse: (any)
SELECT COUNT(*) FROM person PIVOT (COUNT(*) FOR gender IN (1))
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE county = "unclosed
-- refuse: (any)
SELECT county, COUNT(*) FROM person GROUP BY county LIMIT 3 BY county
-- refuse: (any)
SELECT COUNT(*) FROM person |> WHERE TRUE
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE MATCH (county) AGAINST (1)
-- accept
SELECT
  COUNT(*) -- how many
FROM /* the */ person
;
-- accept
SELECT COUNT(*) FROM person WHERE county = 'it''s' OR county = E'\n' OR county = $$x$$
-- refuse: (any)
SELECT COUNT(*) FROM person WHERE (county, gender) = ('25017', 'female', 1)
