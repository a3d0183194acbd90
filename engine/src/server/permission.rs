//! Who may call what: every route of the server, and the roles that may use it. Deny by default.
//!
//! The router is built by walking [`Route::ALL`], so no handler can be reached that this table does
//! not name, and the gate reads [`Route::access`] before the handler sees the request.

use crate::api::Role;

/// The HTTP method of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads.
    Get,
    /// Creates or asks.
    Post,
    /// Takes away.
    Delete,
}

impl Verb {
    /// Its name in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a key: public by design (health, logs that anyone may verify, the start page).
    Public,
    /// Whoever signs the request with a key that the ledger registers: a hospital, a patient. No API key counts.
    Signed,
    /// A valid key of one of these roles.
    Roles(&'static [Role]),
}

impl Access {
    /// May this role call it?
    #[must_use]
    pub fn allows(self, role: Role) -> bool {
        match self {
            Self::Public => true,
            Self::Signed => false,
            Self::Roles(roles) => roles.contains(&role),
        }
    }
}

/// One row a route: its name, method, path template, kind and access.
macro_rules! routes {
    ($($(#[doc = $doc:literal])+ $name:ident $verb:ident $path:literal $kind:ident $access:expr;)+) => {
        /// Every route of the server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Route { $($(#[doc = $doc])+ $name,)+ }

        impl Route {
            /// Every route, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its method.
            #[must_use]
            pub const fn verb(self) -> Verb { match self { $(Self::$name => Verb::$verb,)+ } }

            /// Its path with `{parameters}`, as the audit log names it.
            #[must_use]
            pub const fn path(self) -> &'static str { match self { $(Self::$name => $path,)+ } }

            /// What it answers with.
            #[must_use]
            pub const fn kind(self) -> Kind { match self { $(Self::$name => Kind::$kind,)+ } }

            /// Who may call it.
            #[must_use]
            pub const fn access(self) -> Access { match self { $(Self::$name => $access,)+ } }

            /// What it does, in one line.
            #[must_use]
            pub const fn summary(self) -> &'static str { match self { $(Self::$name => concat!($($doc),+),)+ } }
        }
    };
}

/// What a route answers with: data for programs, or a page for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON or another data format; errors are problem+json.
    Api,
    /// HTML; without a login it redirects to the login form.
    Page,
}

const RESEARCHER: Access = Access::Roles(&[Role::Researcher]);
const READERS: Access = Access::Roles(&[Role::Researcher, Role::Epidemiologist]);
const SCHEMA: Access = Access::Roles(&[Role::Researcher, Role::Epidemiologist, Role::Steward]);
const BUDGET: Access = Access::Roles(&[Role::Researcher, Role::Board, Role::Steward]);
const BOARD: Access = Access::Roles(&[Role::Board]);
const STEWARD: Access = Access::Roles(&[Role::Steward]);
const STEWARDS: Access = Access::Roles(&[Role::Board, Role::Steward]);
const OPERATOR: Access = Access::Roles(&[Role::Operator]);

routes! {
    /// Asks a question and spends its price.
    Ask Post "/v1/statements" Api RESEARCHER;
    /// Says what a question would cost; reads no data and spends nothing.
    Estimate Post "/v1/statements/estimate" Api RESEARCHER;
    /// Answers a question about simulated people: free, not logged, flagged.
    Dummy Post "/v1/statements/dummy" Api RESEARCHER;
    /// Gives a recorded answer again by its statement id, free.
    Statement Get "/v1/statements/{id}" Api READERS;
    /// Gives a recorded answer's rows again, in the format asked for, free.
    StatementResult Get "/v1/statements/{id}/result" Api READERS;
    /// Lists the datasets.
    Datasets Get "/v1/datasets" Api SCHEMA;
    /// Shows a dataset's tables, columns, bounds and public keys.
    Schema Get "/v1/datasets/{dataset}/schema" Api SCHEMA;
    /// Shows cap, spent and remaining budget at every level that binds the caller.
    Budget Get "/v1/budget" Api BUDGET;
    /// Says how far the budget would reach for a list of questions and planned repeats; reads no data and spends nothing.
    BudgetPlan Post "/v1/budget/plan" Api RESEARCHER;
    /// Shows what was spent and left at every level after each paid question, oldest first.
    BudgetHistory Get "/v1/budget/history" Api BUDGET;
    /// Lists the recorded answers that the caller may read.
    Releases Get "/v1/releases" Api READERS;
    /// Opens a series: pays once for a count by week or month in which each patient is counted once.
    SeriesOpen Post "/v1/series" Api RESEARCHER;
    /// Lists the series that the caller may read.
    SeriesList Get "/v1/series" Api READERS;
    /// Shows a series: the periods that are released, and when the next one closes.
    SeriesShow Get "/v1/series/{id}" Api READERS;
    /// Takes a series further at the newest snapshot; spends nothing.
    SeriesRefresh Post "/v1/series/{id}/refresh" Api RESEARCHER;
    /// Lists the protocols: who may ask, for which purpose, until when, how much is spent.
    Protocols Get "/v1/protocols" Api BUDGET;
    /// Approves a protocol.
    ProtocolApprove Post "/v1/protocols" Api BOARD;
    /// Suspends a protocol.
    ProtocolSuspend Post "/v1/protocols/{protocol}/suspend" Api BOARD;
    /// Shows the policy in force, the one that is pending, and what is proposed.
    Policies Get "/v1/policies" Api BUDGET;
    /// Proposes a policy; another principal confirms it.
    PolicyPropose Post "/v1/policies" Api STEWARD;
    /// Confirms another principal's proposal; a raise of a cap is in force seven days later.
    PolicyConfirm Post "/v1/policies/{proposal}/confirm" Api STEWARDS;
    /// Lists the redactions that wait for a second principal.
    Redactions Get "/v1/redactions" Api STEWARDS;
    /// Proposes that a text or a result goes from the audit log's blobs; another principal confirms it.
    RedactionPropose Post "/v1/redactions" Api STEWARDS;
    /// Confirms another principal's proposal, one of the two of the board: the blobs are gone.
    RedactionConfirm Post "/v1/redactions/{redaction}/confirm" Api STEWARDS;
    /// Searches the audit log, with the full text of each question.
    AuditSearch Get "/v1/audit" Api BOARD;
    /// Answers a question in SQL over the table audit.entries, the audit log with the text of each question.
    AuditQuery Post "/v1/audit/query" Api BOARD;
    /// A blob that an audit entry names: a salt with the text or result behind a commitment.
    AuditBlob Get "/v1/audit/blob/{sha256}" Api BOARD;
    /// The audit log's newest published signed checkpoint (C2SP tlog-checkpoint).
    AuditCheckpoint Get "/v1/audit/checkpoint" Api Access::Public;
    /// A tile or entry bundle of the audit log (C2SP tlog-tiles).
    AuditTile Get "/v1/audit/tile/{*path}" Api Access::Public;
    /// An inclusion proof of one audit entry (C2SP tlog-proof).
    AuditProof Get "/v1/audit/proof/{index}" Api Access::Public;
    /// The ledger's newest published signed checkpoint.
    LedgerCheckpoint Get "/v1/ledger/checkpoint" Api OPERATOR;
    /// A tile or entry bundle of the ledger.
    LedgerTile Get "/v1/ledger/tile/{*path}" Api OPERATOR;
    /// A payload that a ledger entry names; with the tiles, what a mirror keeps.
    LedgerBlob Get "/v1/ledger/blob/{sha256}" Api OPERATOR;
    /// Appends a signed transaction to the ledger, with the blobs that it names.
    TransactionSubmit Post "/v1/ledger/transactions" Api Access::Signed;
    /// Gives a patient's records to the patient, their provider, or whoever a grant in force names; logged.
    PatientRecords Get "/v1/ledger/patients/{id}/records" Api Access::Signed;
    /// Lists the API keys, without their secrets.
    Keys Get "/v1/keys" Api OPERATOR;
    /// Creates an API key; its secret is shown this once.
    KeyCreate Post "/v1/keys" Api OPERATOR;
    /// Revokes an API key.
    KeyRevoke Delete "/v1/keys/{id}" Api OPERATOR;
    /// Says that the process lives.
    Health Get "/healthz" Api Access::Public;
    /// Says that catalog and log are there and the log's head verifies.
    Ready Get "/readyz" Api Access::Public;
    /// Names the program and its version.
    Version Get "/version" Api Access::Public;
    /// This interface as OpenAPI 3.1.
    OpenApi Get "/openapi.json" Api Access::Public;
    /// The start page.
    HomePage Get "/" Page Access::Public;
    /// The login form.
    LoginPage Get "/login" Page Access::Public;
    /// Takes a key from the login form and keeps it in a cookie.
    Login Post "/login" Page Access::Public;
    /// Forgets the cookie.
    Logout Post "/logout" Page Access::Public;
    /// Prevalence by county and by month.
    DashboardPage Get "/dashboard" Page READERS;
    /// The audit list.
    AuditPage Get "/audit" Page BOARD;
    /// The style sheet of the pages.
    Style Get "/style.css" Page Access::Public;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_method_and_path_stand_twice() {
        let rows: BTreeSet<_> = Route::ALL.iter().map(|r| (r.verb(), r.path())).collect();
        assert_eq!(rows.len(), Route::ALL.len());
    }

    /// The matrix as the design states it, typed in a second time by role.
    #[test]
    fn each_role_reaches_exactly_its_routes() {
        let expected = |role: Role| -> BTreeSet<Route> {
            let list: &[Route] = match role {
                Role::Researcher => &[
                    Route::Ask,
                    Route::Estimate,
                    Route::Dummy,
                    Route::Statement,
                    Route::StatementResult,
                    Route::Datasets,
                    Route::Schema,
                    Route::Budget,
                    Route::BudgetPlan,
                    Route::BudgetHistory,
                    Route::Releases,
                    Route::SeriesOpen,
                    Route::SeriesList,
                    Route::SeriesShow,
                    Route::SeriesRefresh,
                    Route::Protocols,
                    Route::Policies,
                    Route::DashboardPage,
                ],
                Role::Epidemiologist => &[
                    Route::Statement,
                    Route::StatementResult,
                    Route::Datasets,
                    Route::Schema,
                    Route::Releases,
                    Route::SeriesList,
                    Route::SeriesShow,
                    Route::DashboardPage,
                ],
                Role::Board => &[
                    Route::Budget,
                    Route::BudgetHistory,
                    Route::Protocols,
                    Route::ProtocolApprove,
                    Route::ProtocolSuspend,
                    Route::Policies,
                    Route::PolicyConfirm,
                    Route::Redactions,
                    Route::RedactionPropose,
                    Route::RedactionConfirm,
                    Route::AuditSearch,
                    Route::AuditQuery,
                    Route::AuditBlob,
                    Route::AuditPage,
                ],
                Role::Steward => &[
                    Route::Datasets,
                    Route::Schema,
                    Route::Budget,
                    Route::BudgetHistory,
                    Route::Protocols,
                    Route::Policies,
                    Route::PolicyPropose,
                    Route::PolicyConfirm,
                    Route::Redactions,
                    Route::RedactionPropose,
                    Route::RedactionConfirm,
                ],
                Role::Operator => &[
                    Route::LedgerCheckpoint,
                    Route::LedgerTile,
                    Route::LedgerBlob,
                    Route::Keys,
                    Route::KeyCreate,
                    Route::KeyRevoke,
                ],
            };
            list.iter().copied().collect()
        };
        for role in Role::ALL {
            let got: BTreeSet<Route> = Route::ALL
                .iter()
                .copied()
                .filter(|r| r.access() != Access::Public && r.access().allows(role))
                .collect();
            assert_eq!(got, expected(role), "{}", role.as_str());
        }
    }

    #[test]
    fn only_a_researcher_can_spend() {
        for role in Role::ALL {
            assert_eq!(Route::Ask.access().allows(role), role == Role::Researcher);
            assert_eq!(Route::SeriesOpen.access().allows(role), role == Role::Researcher);
        }
    }
}
