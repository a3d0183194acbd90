//! The fold over a ledger's transactions: keys by height, who signed what, chains of corrections.

use std::collections::BTreeMap;

use super::report::LedgerSummary;
use crate::{
    entry::{LedgerEntry, Transaction, parse_ledger_entry},
    registry::{KeyFault, KeyRegistry, RecordChain},
};

/// Counts transactions, and those that do not count.
#[derive(Default)]
pub(crate) struct LedgerFold {
    registry: KeyRegistry,
    chain: RecordChain,
    transactions: BTreeMap<&'static str, u64>,
    bad: BTreeMap<&'static str, u64>,
}

impl LedgerFold {
    /// A transaction whose signature verifies; `read` gives the stored bytes of an earlier entry. Whether it counts.
    pub(crate) fn signed(
        &mut self,
        index: u64,
        transaction: &Transaction,
        key: &str,
        read: impl FnOnce(u64) -> Option<Vec<u8>>,
    ) -> bool {
        *self.transactions.entry(transaction.type_name()).or_default() += 1;
        let mut verdict = self.registry.apply(transaction, key, index);
        if let (Ok(()), Transaction::ModifyRecord(modify)) = (verdict, transaction) {
            let previous = if modify.prev_index < index { read(modify.prev_index) } else { None };
            let previous = match previous.as_deref().map(parse_ledger_entry) {
                Some(Ok(LedgerEntry::Transaction(previous))) => Some(previous.transaction),
                _ => None,
            };
            verdict = self.chain.supersede(modify, previous.as_ref());
        }
        if let Err(fault) = verdict {
            self.bad(index, fault);
        }
        verdict.is_ok()
    }

    /// A transaction that does not count.
    pub(crate) fn bad(&mut self, index: u64, fault: KeyFault) {
        self.chain.refuse(index);
        *self.bad.entry(fault.code()).or_default() += 1;
    }

    /// The counts.
    pub(crate) fn summary(&self) -> LedgerSummary {
        let keys = self.registry.len() as u64;
        LedgerSummary { transactions: self.transactions.clone(), bad_transactions: self.bad.clone(), keys }
    }
}
