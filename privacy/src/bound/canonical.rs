//! The canonical text of a bounded plan, and the keys that are derived from it.

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Aggregate, Expr, LogicalPlan},
};
use sha2::Sha256;

/// PRF(secret, label, text): HMAC-SHA-256, first 128 bits.
pub(super) fn derived_key(secret: &[u8; 32], label: &str, text: &str) -> [u8; 16] {
    use hmac::{Hmac, KeyInit, Mac};
    let mut key = [0; 16];
    // HMAC takes keys of every length, so the error arm is never taken; a zero key would still be bounded.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(label.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        for (to, from) in key.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }
    key
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Every literal in its order, with its length before it: Debug output does not escape texts, so a crafted one could
/// make two plans print alike.
pub(super) fn literals(input: &LogicalPlan, aggregate: &Aggregate) -> String {
    let mut found = String::new();
    let mut visit = |expr: &Expr| {
        expr.apply(|e| {
            if let Expr::Literal(value, _) = e {
                let text = value.to_string();
                found.push_str(&format!("{}:{}:{text};", value.data_type(), text.len()));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    };
    // The visitor never fails, so neither do the walks.
    let _ = input.apply(|node| node.apply_expressions(&mut visit));
    for expr in aggregate.group_expr.iter().chain(&aggregate.aggr_expr) {
        let _ = visit(expr);
    }
    found
}
