//! The Merkle tree of RFC 6962, section 2.1: hashes, roots and proofs over any source of perfect subtrees.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Hash of a leaf: SHA-256(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Perfect subtrees of one log: `node(k, n)` is the root over the leaves `n * 2^k .. (n + 1) * 2^k`.
pub trait Nodes {
    /// Why a node is not there.
    type Error;
    /// The root of the `index`-th perfect subtree of 2^`level` leaves.
    ///
    /// # Errors
    /// It cannot be read, or is not complete.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Root of the leaves `low..high`; `low` is a multiple of the largest power of two below `high - low`.
fn range_root<N: Nodes>(nodes: &N, low: u64, high: u64) -> Result<Hash, N::Error> {
    match high - low {
        0 => Ok(sha256(b"")),
        count if count.is_power_of_two() => nodes.node(count.trailing_zeros(), low >> count.trailing_zeros()),
        count => {
            let middle = low + split(count);
            Ok(node_hash(&range_root(nodes, low, middle)?, &range_root(nodes, middle, high)?))
        }
    }
}

/// Largest power of two smaller than `count` (which is at least 2).
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// Root of the tree of the first `size` leaves.
///
/// # Errors
/// A node cannot be read.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    range_root(nodes, 0, size)
}

/// Inclusion proof of leaf `index` in the tree of `size` leaves (RFC 6962, section 2.1.1), leaf's sibling first.
/// Empty when `index` is not below `size`.
///
/// # Errors
/// A node cannot be read.
pub fn prove_inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut low, mut high, mut proof) = (0, size, Vec::new());
    while high - low > 1 && index < size {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Consistency proof from `old` to `new` leaves (RFC 6962, section 2.1.2). Empty when `old` is 0, `new` or more.
///
/// # Errors
/// A node cannot be read.
pub fn prove_consistency<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, N::Error> {
    let (mut low, mut high, mut proof) = (0, new, Vec::new());
    if old == 0 || old >= new {
        return Ok(proof);
    }
    // The old tree's last whole subtree needs no hash when it is the old root itself.
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_root(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(nodes, low, middle)?);
            low = middle;
        }
    }
    if low != 0 {
        proof.push(range_root(nodes, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether an inclusion proof leads from a leaf hash to a root (RFC 9162, section 2.1.3.2).
pub fn check_inclusion(proof: &[Hash], index: u64, size: u64, leaf: &Hash, root: &Hash) -> bool {
    let (mut node, mut last, mut hash) = (index, size.wrapping_sub(1), *leaf);
    if index >= size {
        return false;
    }
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether a consistency proof leads from one root to a later one (RFC 9162, section 2.1.4.2).
pub fn check_consistency(proof: &[Hash], old: u64, old_root: &Hash, new: u64, new_root: &Hash) -> bool {
    if old > new || old == 0 || old == new {
        return proof.is_empty()
            && old <= new
            && if old == 0 { *old_root == sha256(b"") } else { old_root == new_root };
    }
    let mut path = proof.iter();
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            (old_hash, new_hash) = (node_hash(sibling, &old_hash), node_hash(sibling, &new_hash));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// The right edge of a growing tree: one root for each bit of its size, largest subtree first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The right edge of the first `size` leaves of a tree.
    ///
    /// # Errors
    /// A node cannot be read.
    pub fn read<N: Nodes>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let mut roots = Vec::new();
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            roots.push(nodes.node(level, (size >> level) - 1)?);
        }
        Ok(Self { size, roots })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One more leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The tree's root.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return sha256(b"") };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::hex;

    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        type Error = Infallible;

        fn node(&self, level: u32, index: u64) -> Result<Hash, Infallible> {
            let Some(below) = level.checked_sub(1) else {
                return Ok(self.0[index as usize]);
            };
            Ok(node_hash(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?))
        }
    }

    /// The eight inputs that Certificate Transparency's tests use (RFC 6962's authors' merkle tree tests).
    fn leaves() -> Leaves {
        let inputs =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        Leaves(inputs.iter().map(|text| leaf_hash(&bytes(text))).collect())
    }

    #[test]
    fn hashes_of_rfc_6962() {
        assert_eq!(hex::encode(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex::encode(&leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(hex::encode(&root(&leaves(), size as u64).unwrap()), *expected, "size {size}");
            assert_eq!(hex::encode(&frontier.root()), *expected, "size {size}");
            if let Some(leaf) = leaves().0.get(size) {
                frontier.push(*leaf);
            }
        }
    }

    #[test]
    fn proofs_of_rfc_6962() {
        // RFC 6962, section 2.1.3: the tree of seven leaves, its nodes named as there, and its six example proofs.
        let nodes = Leaves((0..7_u8).map(|i| leaf_hash(&[i])).collect());
        let node = |level, index| nodes.node(level, index).unwrap();
        let [a, b, c, d, _, f, j] = [0, 1, 2, 3, 4, 5, 6].map(|index| node(0, index));
        let (g, h, i, k) = (node(1, 0), node(1, 1), node(1, 2), node(2, 0));
        let l = node_hash(&i, &j);
        for (index, path) in [(0, vec![b, h, l]), (3, vec![c, g, l]), (4, vec![f, j, k]), (6, vec![i, k])] {
            assert_eq!(prove_inclusion(&nodes, index, 7).unwrap(), path, "d{index}");
        }
        for (old, proof) in [(3, vec![c, d, g, l]), (4, vec![l]), (6, vec![i, j, k])] {
            assert_eq!(prove_consistency(&nodes, old, 7).unwrap(), proof, "hash{old}");
        }
        assert_eq!(root(&nodes, 7).unwrap(), node_hash(&node_hash(&node_hash(&a, &b), &h), &l));
    }

    #[test]
    fn proofs_of_any_length_are_only_judged() {
        // A proof has at most 64 hashes; longer ones lead nowhere, and no size makes the check overflow.
        let (leaf, proof) = ([1; 32], [[2; 32]; 65]);
        for length in 0..=65 {
            for (index, size) in [(0, 1), (0, 2), (u64::MAX - 1, u64::MAX), (0, u64::MAX), (1 << 63, u64::MAX)] {
                assert!(!check_inclusion(&proof[..length], index, size, &leaf, &[3; 32]), "{length} {index} {size}");
            }
            for (old, new) in [(1, 2), (u64::MAX - 1, u64::MAX), (1, u64::MAX), (1 << 63, u64::MAX)] {
                assert!(!check_consistency(&proof[..length], old, &leaf, new, &[3; 32]), "{length} {old} {new}");
            }
        }
    }

    #[test]
    fn proofs_hold_for_all_small_trees_and_nothing_else() {
        let nodes = Leaves((0..70_u8).map(|i| leaf_hash(&[i])).collect());
        let mut frontier = Frontier::default();
        for size in 1..=70 {
            frontier.push(nodes.0[size as usize - 1]);
            let head = root(&nodes, size).unwrap();
            assert_eq!(Frontier::read(&nodes, size).unwrap(), frontier);
            assert_eq!(frontier.root(), head);
            for index in 0..size {
                let leaf = nodes.0[index as usize];
                let proof = prove_inclusion(&nodes, index, size).unwrap();
                assert!(check_inclusion(&proof, index, size, &leaf, &head));
                assert!(!check_inclusion(&proof, (index + 1) % 70, size, &leaf, &head) || size == 1);
                assert!(!check_inclusion(&proof, index, size, &[0; 32], &head));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(!check_inclusion(shorter, index, size, &leaf, &head));
                }
            }
            for old in 0..=size {
                let old_root = root(&nodes, old).unwrap();
                let proof = prove_consistency(&nodes, old, size).unwrap();
                assert!(check_consistency(&proof, old, &old_root, size, &head), "{old} to {size}");
                assert!(!check_consistency(&proof, old, &[0; 32], size, &head));
                if old > 0 {
                    assert!(!check_consistency(&proof, old, &old_root, size, &[0; 32]));
                }
            }
        }
        assert!(!check_inclusion(&[], 0, 0, &[0; 32], &[0; 32]));
        assert!(!check_consistency(&[], 3, &[0; 32], 2, &[0; 32]));
    }
}
