//! Setting a policy: two acts of two principals, each an entry of the log.

use epiledger_ledger::entry::{AuditEntry, PolicyPropose, PolicySet, PolicyTerms};

use super::{Accountant, AccountantError};

impl Accountant {
    /// The first act: its index names the proposal. It stands until the next policy is set.
    ///
    /// # Errors
    /// The log failed.
    pub fn propose_policy(&self, terms: PolicyTerms, by: &str) -> Result<u64, AccountantError> {
        self.record(AuditEntry::PolicyPropose(PolicyPropose { by: by.to_owned(), terms }), Vec::new())
    }

    /// The second act. The policy's number, its time and from when it is in force follow from the log.
    ///
    /// # Errors
    /// No such proposal stands, it is the confirmer's own, it breaks a rule (nothing is written), or the log failed.
    pub fn confirm_policy(&self, proposal: u64, by: &str) -> Result<(u64, PolicySet), AccountantError> {
        let (ticket, set) = {
            let mut inner = self.lock();
            let set = inner.budget.confirmed(proposal, by, self.log.time());
            let set = set.map_err(|what| AccountantError::Refused { what })?;
            (self.submit(&mut inner, &AuditEntry::PolicySet(set.clone()), Vec::new(), None, None)?, set)
        };
        let index = ticket.first_index();
        ticket.wait_pinned()?;
        Ok((index, set))
    }
}
