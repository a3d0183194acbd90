//! The standing questions: the demo asks them, and the pages show what was released for them.
//!
//! A panel is found among the releases by its SQL text, so a viewer spends nothing and sees the
//! same noise as everyone.

/// A standing question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panel {
    /// What it shows.
    pub title: &'static str,
    /// The question.
    pub sql: &'static str,
    /// The rho that the demo pays for it, a decimal.
    pub rho: &'static str,
}

/// Patients by county: the denominator.
pub const PATIENTS: Panel = Panel {
    title: "Patients by county",
    sql: "SELECT county, COUNT(*) AS patients FROM person GROUP BY county ORDER BY county",
    rho: "0.005",
};

/// New cases of the epidemic by month. Every month of the declared range is measured; HAVING shows one year of them.
pub const EPIDEMIC: Panel = Panel {
    title: "COVID-19: patients with a new diagnosis, by month",
    sql: "SELECT date_trunc('month', condition_start_date) AS month, COUNT(DISTINCT person_id) AS new_cases \
          FROM condition_occurrence WHERE condition_source_value = '840539006' \
          GROUP BY date_trunc('month', condition_start_date) \
          HAVING date_trunc('month', condition_start_date) BETWEEN DATE '2020-01-01' AND DATE '2020-12-01' \
          ORDER BY month",
    rho: "0.02",
};

/// A measurement's mean by sex and age. The range in WHERE is what bounds one reading's weight, and so the noise.
pub const PRESSURE: Panel = Panel {
    title: "Mean systolic blood pressure (mm Hg) by gender and age",
    sql: "SELECT p.gender, p.age_band, AVG(m.value_as_number) AS mean_systolic \
          FROM measurement m JOIN person p ON m.person_id = p.person_id \
          WHERE m.measurement_source_value = '8480-6' AND m.value_as_number BETWEEN 60 AND 240 \
          GROUP BY p.gender, p.age_band HAVING p.gender IN ('female', 'male') \
          ORDER BY p.gender, p.age_band",
    rho: "0.02",
};

/// Patients who ever had the epidemic's disease, by county: the numerator of prevalence.
pub const CASES: Panel = Panel {
    title: "COVID-19: patients ever diagnosed, by county",
    sql: "SELECT p.county, COUNT(DISTINCT p.person_id) AS cases \
          FROM person p WHERE p.person_id IN (SELECT person_id FROM condition_occurrence \
          WHERE condition_source_value = '840539006') GROUP BY p.county ORDER BY p.county",
    rho: "0.005",
};

/// The share of patients who had the disease in a month: two counts for each of twelve months, one release.
pub const PREVALENCE: Panel = Panel {
    title: "COVID-19: patients ill in a month per 100 observed in it (period prevalence), by month",
    sql: include_str!("panel/prevalence.sql"),
    rho: "0.02",
};

/// What a demo asks and shows, in order. One that keeps serving asks [`PREVALENCE`] too, for its dashboard.
pub const DEMO: [Panel; 4] = [PATIENTS, EPIDEMIC, PRESSURE, CASES];
