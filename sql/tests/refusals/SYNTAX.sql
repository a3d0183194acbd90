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
