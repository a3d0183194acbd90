//! Exit codes, stable for scripts, and the failures behind them.

use std::fmt::Display;
use std::process::ExitCode;

use axum::http::StatusCode;
use epiledger_ingest::IngestError;
use epiledger_ledger::LogError;
use epiledger_ledger::verify::Fault;
use epiledger_privacy::accountant::AccountantError;

use super::client::Refusal;
use crate::api::QueryError;
use crate::open::OpenError;
use crate::pin::PinError;
use crate::server::error::Problem;

/// How the program ends when it does not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed.
    Failure = 1,
    /// The command line or a setting is wrong.
    Usage = 2,
    /// The rules refuse the question.
    Policy = 3,
    /// The budget does not cover it.
    Budget = 4,
    /// No key, or not one that may.
    Auth = 5,
    /// A log does not verify.
    Broken = 6,
    /// Try again later.
    Temporary = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, in words for its user.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with a code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command was given something it can't take.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Any other error, in its own words.
    pub fn of(error: impl Display) -> Self {
        Self::new(Exit::Failure, error.to_string())
    }
}

/// A log that is damaged, one that another process has, and a signing key that others may read.
impl From<&LogError> for Exit {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::Corrupt { .. } => Self::Broken,
            LogError::Locked(_) => Self::Temporary,
            LogError::OpenKeyFile(_) => Self::Usage,
            _ => Self::Failure,
        }
    }
}

/// A log that contradicts itself is broken, whoever finds it.
impl From<&AccountantError> for Exit {
    fn from(error: &AccountantError) -> Self {
        match error {
            AccountantError::Log(error) => error.into(),
            AccountantError::Unreadable(_) | AccountantError::Fold(_) => Self::Broken,
            _ => Self::Failure,
        }
    }
}

impl From<&IngestError> for Exit {
    fn from(error: &IngestError) -> Self {
        match error {
            IngestError::Log(error) => error.into(),
            IngestError::OpenKeyFile(_) => Self::Usage,
            IngestError::Busy => Self::Temporary,
            _ => Self::Failure,
        }
    }
}

impl From<&OpenError> for Exit {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Log(error) => error.into(),
            OpenError::Ingest(error) => error.into(),
            OpenError::Accountant(error) => error.into(),
            OpenError::Pin(error) => error.into(),
            _ => Self::Failure,
        }
    }
}

/// A pin is named by its user; what answers at an address is not.
impl From<&PinError> for Exit {
    fn from(error: &PinError) -> Self {
        match error {
            PinError::Log(error) => error.into(),
            PinError::Unwritable(..) => Self::Failure,
            PinError::Address(..) => Self::Temporary,
            PinError::Gone(_) => Self::Broken,
            PinError::Unreadable(..) | PinError::Damaged(_) | PinError::Inside(_) | PinError::Scheme(_) => Self::Usage,
        }
    }
}

/// A fault, or a log that can't be judged now.
impl From<&Fault> for Exit {
    fn from(fault: &Fault) -> Self {
        if fault.is_busy() { Self::Temporary } else { Self::Broken }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::new((&error).into(), error.to_string())
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Self {
        Self::new((&error).into(), error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new((&error).into(), error.to_string())
    }
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        Self::new((&error).into(), error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match StatusCode::from_u16(refusal.status).unwrap_or_default() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Auth,
            StatusCode::UNPROCESSABLE_ENTITY => Exit::Policy,
            StatusCode::TOO_MANY_REQUESTS => Exit::Budget,
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::Temporary,
            _ => Exit::Failure,
        };
        Self::new(exit, refusal.to_string())
    }
}

/// The same exit code and words as over HTTP.
impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let problem = Problem::from(error);
        Self { status: problem.status, problem: serde_json::to_value(&problem).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_status_has_its_exit_code() {
        let of = |status: u16| Failure::from(Refusal { status, problem: json!({"detail": "x"}) }).exit as u8;
        let cases = [(401, 5), (403, 5), (422, 3), (429, 4), (409, 75), (503, 75), (504, 75), (404, 1), (500, 1)];
        for (status, exit) in cases {
            assert_eq!(of(status), exit, "{status}");
        }
    }
}
