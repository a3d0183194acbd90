//! From a condition's code to its category (CCSR for ICD-10-CM, AHRQ HCUP), for the codes that the sources use.
//!
//! SNOMED CT codes stand here as opaque identifiers, without their terms.

/// Code and category.
const CATEGORIES: [(&str, &str); 93] = [
    ("10509002", "RSP005"),
    ("1121000119107", "other"),
    ("124171000119105", "NVS010"),
    ("127013003", "END003"),
    ("128613002", "NVS009"),
    ("13645005", "RSP008"),
    ("1501000119109", "END003"),
    ("1551000119108", "END003"),
    ("15777000", "END016"),
    ("157141000119108", "END003"),
    ("16114001", "INJ"),
    ("162864005", "finding"),
    ("185086009", "RSP008"),
    ("19169002", "PRG"),
    ("192127007", "other"),
    ("195662009", "RSP006"),
    ("195967001", "RSP009"),
    ("196416002", "other"),
    ("197927001", "GEN004"),
    ("201834006", "MUS006"),
    ("22298006", "CIR009"),
    ("230265002", "NVS011"),
    ("230690007", "CIR020"),
    ("232353008", "other"),
    ("233604007", "RSP002"),
    ("233678006", "RSP009"),
    ("235595009", "DIG004"),
    ("237602007", "END016"),
    ("239720000", "INJ"),
    ("239872002", "MUS006"),
    ("239873007", "MUS006"),
    ("241929008", "other"),
    ("254837009", "other"),
    ("26929004", "NVS011"),
    ("271737000", "other"),
    ("283371005", "INJ"),
    ("283385000", "INJ"),
    ("284549007", "INJ"),
    ("284551006", "INJ"),
    ("301011002", "GEN004"),
    ("302870006", "END010"),
    ("307731004", "INJ"),
    ("35489007", "MBD002"),
    ("35999006", "PRG"),
    ("36923009", "MBD002"),
    ("36971009", "RSP001"),
    ("368581000119106", "END003"),
    ("36955009", "finding"),
    ("370143000", "MBD002"),
    ("370247008", "INJ"),
    ("38341003", "CIR007"),
    ("386661006", "finding"),
    ("39848009", "INJ"),
    ("398254007", "PRG"),
    ("40055000", "RSP001"),
    ("403190006", "INJ"),
    ("403191005", "INJ"),
    ("408512008", "finding"),
    ("40275004", "other"),
    ("410429000", "CIR018"),
    ("42343007", "CIR019"),
    ("422034002", "END003"),
    ("431855005", "GEN003"),
    ("431856006", "GEN003"),
    ("433144002", "GEN003"),
    ("43878008", "RSP006"),
    ("44054006", "END002"),
    ("443165006", "MUS013"),
    ("444448004", "INJ"),
    ("444470001", "INJ"),
    ("444814009", "RSP001"),
    ("446096008", "RSP006"),
    ("44465007", "INJ"),
    ("48694002", "MBD005"),
    ("49436004", "CIR017"),
    ("53741008", "CIR011"),
    ("55680006", "INJ"),
    ("55822004", "END010"),
    ("58150001", "INJ"),
    ("59621000", "CIR007"),
    ("62106007", "INJ"),
    ("6142004", "RSP003"),
    ("64859006", "MUS013"),
    ("65363002", "EAR001"),
    ("65966004", "INJ"),
    ("70704007", "INJ"),
    ("72892002", "PRG"),
    ("74400008", "DIG009"),
    ("7200002", "MBD017"),
    ("79586000", "PRG"),
    ("840539006", "INF012"),
    ("87433001", "RSP008"),
    ("88805009", "CIR019"),
];

/// The category of a condition's code; `other` for a code that is not listed.
#[must_use]
pub fn condition_category(code: &str) -> &'static str {
    CATEGORIES.iter().find(|(listed, _)| *listed == code).map_or("other", |(_, category)| category)
}

/// Every listed code with its category, for the public `concept` table.
pub fn listed_conditions() -> impl Iterator<Item = (&'static str, &'static str)> {
    CATEGORIES.iter().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::research::CONDITION_CATEGORIES;

    #[test]
    fn each_code_stands_once_under_a_declared_category() {
        let declared: BTreeSet<&str> = CONDITION_CATEGORIES.iter().map(|(code, _)| *code).collect();
        let mut seen = BTreeSet::new();
        for (code, category) in listed_conditions() {
            assert!(seen.insert(code), "{code} twice");
            assert!(declared.contains(category), "{category}");
        }
        assert_eq!(condition_category("840539006"), "INF012");
        assert_eq!(condition_category("53741008"), "CIR011");
        assert_eq!(condition_category("1"), "other");
    }
}
