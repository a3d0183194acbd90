//! Protocols as of some moment of the audit log: who may ask what until when, and how often it may still fail.

use std::collections::HashMap;

use super::{
    day::{SLACK_SECONDS, day_of, is_day},
    policies::Amount,
};
use crate::entry::{ProtocolApprove, QueryIntent};

/// Questions of a protocol that may end without an answer since its last approval: each may have revealed a bit.
pub(crate) const FAILURES_ALLOWED: u64 = 3;

/// A protocol with its caps parsed.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub cap: Amount,
    entry: ProtocolApprove,
    suspended: bool,
    /// Questions that ended without an answer since the last approval.
    failures: u64,
    /// Questions without an outcome.
    under_way: u64,
}

/// All protocols so far.
#[derive(Default)]
pub(crate) struct Protocols(HashMap<String, Protocol>);

impl Protocols {
    /// Takes in an approval; a later one of the same protocol replaces the earlier.
    pub(crate) fn approve(&mut self, entry: &ProtocolApprove) -> Result<(), String> {
        let cap = Amount::parse(&entry.rho_cap, &entry.delta_cap).ok_or("a cap is no decimal in whole units")?;
        if !is_day(&entry.valid_from) || !is_day(&entry.valid_to) {
            return Err("the protocol's days are no dates".into());
        }
        let under_way = self.0.get(&entry.protocol).map_or(0, |old| old.under_way);
        let protocol = Protocol { cap, entry: entry.clone(), suspended: false, failures: 0, under_way };
        self.0.insert(entry.protocol.clone(), protocol);
        Ok(())
    }

    /// Takes in a suspension.
    pub(crate) fn suspend(&mut self, protocol: &str) -> Result<(), String> {
        self.0.get_mut(protocol).ok_or("the suspended protocol was never approved")?.suspended = true;
        Ok(())
    }

    /// The protocol, if answers under it may be given between two times.
    fn usable(&self, name: &str, from: u64, to: u64) -> Result<&Protocol, String> {
        let protocol = self.0.get(name).ok_or("its protocol was never approved")?;
        if protocol.suspended {
            return Err("its protocol is suspended".into());
        }
        if protocol.entry.valid_from > day_of(to) || protocol.entry.valid_to < day_of(from) {
            return Err("its protocol is not in its dates".into());
        }
        Ok(protocol)
    }

    /// The protocol, if a release may be given again under it at a block's time or shortly before.
    pub(crate) fn may_repeat(&self, name: &str, time: u64) -> Result<&Protocol, String> {
        self.usable(name, time.saturating_sub(SLACK_SECONDS), time)
    }

    /// The protocol of an intent, if it may be asked under it at its time.
    pub(crate) fn of(&self, intent: &QueryIntent) -> Result<&Protocol, String> {
        let protocol = self.usable(&intent.protocol, intent.time, intent.time)?;
        if intent.purpose != protocol.entry.purpose {
            return Err("its purpose is not its protocol's".into());
        }
        if !protocol.entry.investigators.contains(&intent.principal) {
            return Err("its principal is no investigator of its protocol".into());
        }
        if protocol.failures + protocol.under_way >= FAILURES_ALLOWED {
            return Err(format!("with those under way, more than {FAILURES_ALLOWED} of its protocol may fail"));
        }
        Ok(protocol)
    }

    /// A question under a protocol begins.
    pub(crate) fn begin(&mut self, protocol: &str) {
        if let Some(protocol) = self.0.get_mut(protocol) {
            protocol.under_way += 1;
        }
    }

    /// A question under a protocol ends.
    pub(crate) fn end(&mut self, protocol: &str, answered: bool) {
        if let Some(protocol) = self.0.get_mut(protocol) {
            protocol.under_way = protocol.under_way.saturating_sub(1);
            protocol.failures += u64::from(!answered);
        }
    }

    /// Protocols ever approved.
    pub(crate) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}
