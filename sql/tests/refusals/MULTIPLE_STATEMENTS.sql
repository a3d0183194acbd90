-- refuse: DROP
SELECT COUNT(*) FROM person; DROP TABLE person
-- refuse: SELECT
SELECT 1; SELECT 2
-- accept
SELECT COUNT(*) FROM person;;
