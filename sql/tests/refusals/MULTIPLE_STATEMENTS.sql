-- refuse: DROP
SELECT COUNT(*) FROM person; DROP TABLE person
-- refuse: SELECT
SELECT 1; SELECT 2
-- accept
SELECT COUNT(*) FROM person;;
-- refuse: SET
SELECT COUNT(*) FROM person; SET x = 1
-- refuse: garbage
SELECT COUNT(*) FROM person; garbage
-- refuse: SELECT
SELECT COUNT(*) FROM person /* ; */ ; SELECT COUNT(*) FROM death
-- accept
SELECT COUNT(*) FROM person WHERE county <> ';' ; -- ; SELECT 1
