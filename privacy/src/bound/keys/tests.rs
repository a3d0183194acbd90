//! Keys, cells and ranges that the text and the catalog alone decide.

use datafusion::common::ScalarValue;

use super::{Keys, PublicValues, keys, total_keys, unit_determined};
use crate::bound::total::{Measure, measures};
use crate::bound::walk::tests::{asked, small_catalog};

struct Regions;

impl PublicValues for Regions {
    fn values(&self, table: &str, column: &str) -> Option<Vec<ScalarValue>> {
        let values: &[&str] = match (table, column) {
            ("region", "region_code") => &["A", "B", "C"],
            ("region", "name") => &["Alpha", "Beta", "Gamma"],
            _ => return None,
        };
        Some(values.iter().map(|v| ScalarValue::from(*v)).collect())
    }
}

async fn cells(sql: &str) -> Option<Vec<String>> {
    let (aggregate, relation) = asked(sql).await.unwrap();
    let group = total_keys(&aggregate.group_expr, &relation).unwrap();
    match keys(&group, &relation, &small_catalog(), &Regions).unwrap() {
        Keys::Unknown => None,
        Keys::Public(cells) => {
            let cell = |cell: &Vec<ScalarValue>| cell.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            Some(cells.iter().map(cell).collect())
        }
    }
}

#[tokio::test]
async fn keys_that_the_patient_decides_touch_one_group() {
    for (sql, one) in [
        ("SELECT county, COUNT(*) FROM person p JOIN visit v ON p.person_id = v.person_id GROUP BY county", true),
        ("SELECT kind, COUNT(*) FROM visit GROUP BY kind", false),
        (
            "SELECT r.name, COUNT(*) FROM person p JOIN region r ON r.region_code = p.county JOIN visit v ON v.person_id = p.person_id GROUP BY r.name",
            true,
        ),
        ("SELECT n, COUNT(*) FROM (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id) GROUP BY n", true),
        (
            "SELECT n, COUNT(*) FROM (SELECT person_id, kind, COUNT(*) n FROM visit GROUP BY person_id, kind) GROUP BY n",
            false,
        ),
        ("SELECT x, COUNT(*) FROM (SELECT sex x FROM person UNION ALL SELECT county FROM person) GROUP BY x", false),
        ("SELECT f, COUNT(*) FROM (SELECT MIN(day) OVER (PARTITION BY person_id) f FROM visit) GROUP BY f", true),
        (
            "SELECT f, COUNT(*) FROM (SELECT MIN(day) OVER (PARTITION BY person_id ORDER BY day) f FROM visit) GROUP BY f",
            false,
        ),
        (
            "SELECT f, COUNT(*) FROM (SELECT MIN(day) OVER (PARTITION BY person_id, kind) f FROM visit) GROUP BY f",
            false,
        ),
    ] {
        let (aggregate, relation) = asked(sql).await.unwrap();
        assert_eq!(unit_determined(&aggregate.group_expr, &relation), one, "{sql}");
    }
}

#[tokio::test]
async fn cells_of_public_keys() {
    let of = |cells: &[&str]| Some(cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
    assert_eq!(cells("SELECT county, COUNT(*) FROM person GROUP BY county").await, of(&["A", "B", "C"]));
    assert_eq!(
        cells("SELECT sex, county, COUNT(*) FROM person WHERE county <> 'B' GROUP BY sex, county").await,
        of(&["f A", "f C", "m A", "m C"])
    );
    assert_eq!(
        cells("SELECT CASE WHEN born < 1952 THEN 'old' ELSE 'young' END, COUNT(*) FROM person GROUP BY 1").await,
        of(&["old", "young"])
    );
    assert_eq!(
        cells("SELECT born / 10 * 10, born % 2, COUNT(*) FROM person GROUP BY 1, 2").await,
        of(&["1950 0", "1950 1"])
    );
    assert_eq!(
        cells("SELECT CASE WHEN cost > 5 THEN 'dear' ELSE 'cheap' END, COUNT(*) FROM visit GROUP BY 1").await,
        of(&["cheap", "dear"])
    );
    assert_eq!(
        cells("SELECT r.name, COUNT(*) FROM person p JOIN region r ON r.region_code = p.county GROUP BY r.name").await,
        of(&["Alpha", "Beta", "Gamma"])
    );
    assert_eq!(cells("SELECT zip, COUNT(*) FROM person GROUP BY zip").await, of(&["1", "2"]));
    assert_eq!(
        cells("SELECT CASE WHEN zip IS NULL THEN 'none' ELSE zip END, COUNT(*) FROM person GROUP BY 1").await,
        of(&["1", "2", "none"])
    );
    assert_eq!(cells("SELECT kind, COUNT(*) FROM visit GROUP BY kind").await, None);
    assert_eq!(cells("SELECT kind, day, COUNT(*) FROM visit GROUP BY kind, day").await, None);
    // A union's keys are those of its branches.
    assert_eq!(
        cells("SELECT x, COUNT(*) FROM (SELECT sex x FROM person WHERE sex = 'm' UNION ALL SELECT county FROM person) GROUP BY x").await,
        of(&["A", "B", "C", "m"])
    );
    assert_eq!(
        cells("SELECT w, sex, COUNT(*) FROM (SELECT 'v' w, sex FROM person UNION ALL SELECT 'd', sex FROM person WHERE sex = 'f' UNION ALL SELECT 'e', 'x' FROM person) GROUP BY w, sex").await,
        of(&["d f", "e x", "v f", "v m"])
    );
    assert_eq!(
        cells("SELECT born / 2, COUNT(*) FROM (SELECT born FROM person WHERE born > 1951 UNION ALL SELECT born - 10 FROM person) GROUP BY 1").await,
        of(&["970", "971", "976"])
    );
    assert_eq!(
        cells("SELECT k, COUNT(*) FROM (SELECT sex k FROM person UNION ALL SELECT kind FROM visit) GROUP BY k").await,
        None
    );
    // A value of another row has the keys of its column, under that row's conditions and its own.
    assert_eq!(
        cells("SELECT year(f), COUNT(*) FROM (SELECT person_id, MIN(day) f FROM visit GROUP BY person_id) WHERE f > DATE '2020-01-01' GROUP BY 1").await,
        of(&["2020"])
    );
    assert_eq!(
        cells("SELECT year(day), year(l), COUNT(*) FROM (SELECT day, MAX(day) OVER (PARTITION BY person_id) l FROM visit) WHERE l >= DATE '2020-01-01' GROUP BY 1, 2").await,
        of(&["2019 2020", "2020 2020"])
    );
    assert_eq!(
        cells("SELECT year(day), year(b), COUNT(*) FROM (SELECT day, LAG(day) OVER (PARTITION BY person_id ORDER BY day) b FROM visit WHERE day < DATE '2020-01-01') GROUP BY 1, 2").await,
        of(&["2019 2019"])
    );
    let with_default = "SELECT year(b), COUNT(*) FROM (SELECT LAG(day, 1, DATE '1990-01-01') OVER (PARTITION BY person_id ORDER BY day) b FROM visit) GROUP BY 1";
    assert_eq!(cells(with_default).await, None);
    assert_eq!(cells("SELECT COUNT(*) FROM visit").await, of(&[""]));
    assert_eq!(
        cells("SELECT a.sex, b.sex, COUNT(*) FROM person a JOIN person b ON a.person_id = b.person_id WHERE a.sex = 'f' GROUP BY 1, 2").await,
        of(&["f f", "f m"])
    );
}

#[tokio::test]
async fn ranges_follow_conditions_and_arithmetic() {
    let grid = async |sql: &str| {
        let (aggregate, relation) = asked(sql).await.unwrap();
        match measures(&aggregate, &relation).unwrap().remove(0) {
            Measure::Sum(_, grid) | Measure::Average(_, grid) => (grid.scale, grid.low, grid.high),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(grid("SELECT AVG(cost) FROM visit").await, (2, 0, 100_000));
    assert_eq!(grid("SELECT AVG(cost) FROM visit WHERE cost BETWEEN 50 AND 250.5").await, (2, 5000, 25_050));
    assert_eq!(grid("SELECT AVG(cost) FROM visit WHERE cost < 10 OR cost > 20").await, (2, 0, 100_000));
    assert_eq!(grid("SELECT SUM(CASE WHEN sex = 'f' THEN 1 ELSE 0 END) FROM person").await, (0, 0, 1));
    assert_eq!(grid("SELECT SUM(2 * born - 1) FROM person").await, (0, 3899, 3905));
    assert_eq!(grid("SELECT AVG(born / 2.0) FROM person").await.0, 4);
    assert_eq!(
        grid("SELECT SUM(x) FROM (SELECT born x FROM person UNION ALL SELECT 7 FROM person UNION ALL SELECT NULL FROM person)").await,
        (0, 7, 1953)
    );
    assert_eq!(
        grid("SELECT SUM(x) FROM (SELECT LAG(born, 1, 0) OVER (PARTITION BY person_id ORDER BY sex) x FROM person)")
            .await,
        (0, 0, 1953)
    );
    let year = "LEAST(day, DATE '2019-12-31') - GREATEST(DATE '2019-01-01', day) + 1";
    assert_eq!(grid(&format!("SELECT SUM(GREATEST(0, {year})) FROM visit")).await, (0, 0, 365));
    assert_eq!(
        grid("SELECT AVG(n) FROM (SELECT person_id, COUNT(*) n FROM visit GROUP BY person_id)").await,
        (0, 0, 2000)
    );
    assert_eq!(
        grid("SELECT AVG(m) FROM (SELECT person_id, MAX(cost) m FROM visit WHERE cost < 500 GROUP BY person_id)").await,
        (2, 0, 50_000)
    );
    assert_eq!(
        grid("SELECT AVG(m) FROM (SELECT person_id, AVG(born) m FROM person GROUP BY person_id)").await,
        (0, 1950, 1953)
    );
}
