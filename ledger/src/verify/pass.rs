//! One pass over a folder: bundles, then journal, entry by entry through every check.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::{
    AuditOptions, Kind,
    absent::{Absent, Claim},
    budget::{AuditFold, Closed},
    content::{Content, Examined, examine, kind_of},
    files::{check_names, is_begun},
    journal::JournalCheck,
    ledger::LedgerFold,
    packs::PackCheck,
    report::{Fault, Report},
    tree::TreeCheck,
};
use crate::{
    checkpoint::Checkpoint,
    entry::{AuditEntry, Block, Transaction},
    follow::{INCOMING, read_marker},
    fs::{Fs, StdFs},
    hex,
    note::VerifierKey,
    recover::read_head,
    tiles::{TILE_WIDTH, TileKind, TilePath, TileReader, split_bundle},
    tree::{self, Hash, check_consistency, check_inclusion, leaf_hash, prove_consistency, prove_inclusion},
};

/// Bundles examined together: enough for all cores, little enough for flat memory.
const ROUND_BUNDLES: u64 = 8;

/// What an audit of a log leaves to that of the next one.
pub(crate) type Ended = (AuditFold, Closed);

/// Everything known while the entries go by.
pub(crate) struct Pass<'a> {
    options: &'a AuditOptions<'a>,
    key: VerifierKey,
    published: Checkpoint,
    tiles: TileReader,
    journal: JournalCheck,
    unpublished_blobs: HashSet<Hash>,
    tree: TreeCheck,
    /// `None` in a mirror without blobs, where nothing is said about them.
    packs: Option<PackCheck>,
    ledger: LedgerFold,
    audit: AuditFold,
    last_block: Option<(Hash, Block)>,
    /// Index after the last block leaf.
    block_end: u64,
    absent: Absent,
    /// Recomputed leaves of the journal's frame that is not at its end yet.
    frame: Vec<Hash>,
    /// Recomputed roots at the sizes of the published and the pinned heads.
    roots: HashMap<u64, Option<Hash>>,
    report: Report,
}

impl<'a> Pass<'a> {
    /// Audits a folder once, after the log before it; gives what the log after it is audited with.
    pub(crate) fn run(dir: &Path, options: &'a AuditOptions<'a>, before: Option<Ended>) -> (Report, Option<Ended>) {
        let mut pass = match Self::open(dir, options, before) {
            Ok(pass) => pass,
            Err(fault) => {
                return (Report { fault: Some(fault), ..Report::default() }, None);
            }
        };
        let result = pass.follow();
        let mut report = pass.report;
        report.fault = result.err();
        report.checked.tiles = pass.tree.tiles;
        report.checked.bundles = pass.tree.bundles;
        report.checked.bytes += pass.tree.bytes + pass.journal.bytes;
        if let Some(packs) = &pass.packs {
            report.checked.blobs = packs.blobs;
            report.checked.bytes += packs.bytes;
        }
        match report.kind {
            Some(Kind::Ledger) => report.ledger = Some(pass.ledger.summary()),
            Some(Kind::Audit) => report.audit = Some(pass.audit.summary()),
            None => {}
        }
        let (key, checkpoint) = (pass.key.to_string(), pass.published.note);
        let closed = Closed { key, checkpoint, size: pass.published.size };
        (report, Some((pass.audit, closed)))
    }

    fn open(dir: &Path, options: &'a AuditOptions<'a>, before: Option<Ended>) -> Result<Self, Fault> {
        let fs: Arc<dyn Fs> = Arc::new(StdFs);
        let mirror = read_marker(fs.as_ref(), dir)?;
        if mirror.is_some() && is_begun(dir) {
            return Err(Fault::busy("checkpoint", "the mirror holds nothing yet: mirror again, then audit again"));
        }
        let (key, published) = read_head(fs.as_ref(), dir)?;
        if options.pinned_key.is_some_and(|pinned| pinned.trim() != key.to_string()) {
            return Err(Fault::new("key", "key", "it is not the pinned key"));
        }
        // Head, then packs, then journal: what a live writer adds meanwhile belongs to frames that the journal shows.
        let mut packs = match mirror {
            Some(false) => None,
            _ => Some(PackCheck::open(&dir.join("blobs"), mirror.is_some() && dir.join(INCOMING).is_dir())?),
        };
        let journal = match mirror {
            None => JournalCheck::open(dir, published.size, &key)?,
            Some(_) => JournalCheck::none(published.size),
        };
        if let Some(packs) = &mut packs {
            packs.growing = journal.end > published.size;
        }
        let end = journal.end.max(published.size);
        let unfinished = check_names(dir, end, mirror)?;
        let unpublished_blobs = journal.unpublished_blobs(published.size)?;
        let mut report =
            Report { origin: published.origin.clone(), size: end, kind: options.kind, ..Report::default() };
        (report.key, report.head) = (key.to_string(), Some(published.clone()));
        report.checked.heads = 1;
        report.checked.unfinished_bytes = unfinished;
        report.checked.bytes = (published.note.len() + key.to_string().len() + 1) as u64;
        Ok(Self {
            options,
            tiles: TileReader::new(fs, dir, &published),
            tree: TreeCheck::new(dir.to_owned(), published.size),
            key,
            published,
            journal,
            unpublished_blobs,
            packs,
            ledger: LedgerFold::default(),
            audit: AuditFold::of(&report.key, before),
            last_block: None,
            block_end: 0,
            absent: Absent::default(),
            frame: Vec::new(),
            roots: HashMap::new(),
            report,
        })
    }

    fn follow(&mut self) -> Result<(), Fault> {
        let pinned = self.pinned_heads()?;
        self.continues(&pinned)?;
        self.roots =
            pinned.iter().map(|head| head.size).chain([self.published.size]).map(|size| (size, None)).collect();
        self.note_root();
        let size = self.report.size;
        while self.tree.size() < size {
            let entries = self.next_entries()?;
            let first = self.tree.size();
            let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
            self.compare_leaves(first, &leaves)?;
            let kind = match self.report.kind.or_else(|| entries.iter().find_map(|entry| kind_of(entry))) {
                Some(kind) => kind,
                None => return Err(Fault::entry(first, "entry", "it belongs to neither kind of log")),
            };
            self.report.kind = Some(kind);
            let examined = examine(kind, first, entries);
            if examined.len() != leaves.len() {
                return Err(Fault::entry(first, "entry", "the auditor's own thread died on it or on one soon after"));
            }
            for (entry, leaf) in examined.into_iter().zip(leaves) {
                self.tree.push(&entry.bytes, leaf)?;
                self.note_root();
                self.entry(entry, leaf)?;
                self.frame(leaf)?;
            }
            if let Some(progress) = self.options.progress {
                progress(self.tree.size(), size);
            }
        }
        self.report.root = hex::encode(&self.tree.root());
        if self.root_at(self.published.size) != Some(self.published.root) {
            return Err(Fault::new("checkpoint", "checkpoint", "its root is not the root of the entries"));
        }
        self.tree.finish()?;
        if self.block_end != size || self.published.size > size {
            return Err(Fault::new("checkpoint", "block", "the last entry closes no block"));
        }
        if let Some(packs) = &mut self.packs {
            let (journal, published) = (&self.journal, self.published.size);
            let torn = packs.finish(|enough, stored| journal.unpublished_records(published, enough, stored))?;
            self.report.checked.unfinished_bytes += torn;
        }
        self.report.checked.unfinished_bytes += self.journal.unfinished;
        for head in pinned {
            if self.root_at(head.size) != Some(head.root) {
                return Err(rewritten(&head));
            }
            self.report.checked.heads += 1;
        }
        self.report.checked.erased_blobs = self.absent.finish()?;
        Ok(())
    }

    /// That the published head continues the pinned ones, before anything is re-hashed. Tiles that do not lead to the
    /// signed root show nothing: re-hashing names them, and every pinned root is compared again at the end.
    fn continues(&self, pinned: &[Checkpoint]) -> Result<(), Fault> {
        let head = &self.published;
        for known in pinned.iter().filter(|known| known.size <= head.size) {
            let root = tree::root(&self.tiles, known.size);
            let proof = prove_consistency(&self.tiles, known.size, head.size);
            if let (Ok(root), Ok(proof)) = (root, proof)
                && root != known.root
                && check_consistency(&proof, known.size, &root, head.size, &head.root)
            {
                return Err(rewritten(known));
            }
        }
        Ok(())
    }

    fn pinned_heads(&self) -> Result<Vec<Checkpoint>, Fault> {
        let open = |note: &String| {
            let head = Checkpoint::open(note, &self.key).ok_or("a pinned head is not signed by this log's key")?;
            if head.size > self.report.size {
                Err("the log is shorter than a pinned head: its tail was cut off")
            } else {
                Ok(head)
            }
        };
        self.options
            .pinned_heads
            .iter()
            .map(open)
            .collect::<Result<_, _>>()
            .map_err(|message| Fault::new("checkpoint", "pinned", message))
    }

    /// Keeps the root of the tree so far, when something will be compared with it.
    fn note_root(&mut self) {
        if let Some(root) = self.roots.get_mut(&self.tree.size()) {
            *root = Some(self.tree.root());
        }
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        self.roots.get(&size).copied().flatten()
    }

    /// Keeps the newest leaf while a frame of the journal holds it, and compares the frame at its end.
    fn frame(&mut self, leaf: Hash) -> Result<(), Fault> {
        let Some(end) = self.journal.end_of(self.tree.size() - 1) else { return Ok(()) };
        self.frame.push(leaf);
        if end > self.tree.size() {
            return Ok(());
        }
        let leaves = std::mem::take(&mut self.frame);
        self.journal.compare(end, &leaves, &self.tree.root(), &self.key)?;
        self.report.checked.frames += 1;
        self.report.checked.heads += 1;
        Ok(())
    }

    /// The next entries, from some bundles or from one journal frame.
    fn next_entries(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let next = self.tree.size();
        if next >= self.published.size {
            let entries = self.journal.entries_from(next)?;
            return if entries.is_empty() {
                Err(Fault::entry(next, "journal", "it is in no bundle and in no frame"))
            } else {
                Ok(entries)
            };
        }
        let mut entries = Vec::new();
        for number in
            next / TILE_WIDTH..(next / TILE_WIDTH + ROUND_BUNDLES).min(self.published.size.div_ceil(TILE_WIDTH))
        {
            let Some(tile) = TilePath::of_size(TileKind::Entries, number, self.published.size) else {
                break;
            };
            let bytes = self
                .tiles
                .read(tile)
                .map_err(|_| Fault::new(tile.path(), "files", "the file is missing or cannot be read"))?;
            let broken = || Fault::new(tile.path(), "tile", "it does not hold its entries");
            let (split, rest) = split_bundle(&bytes, tile.width).ok_or_else(broken)?;
            // More bytes are right only when the full bundle stands in for a partial one; it is compared whole later.
            if !rest.is_empty() && tile.width == TILE_WIDTH {
                return Err(broken());
            }
            entries.extend(split.into_iter().map(<[u8]>::to_vec));
        }
        Ok(entries)
    }

    /// Compares published entries with their level 0 tiles before anything is read in them, so that a changed entry is
    /// named as such.
    fn compare_leaves(&self, first: u64, leaves: &[Hash]) -> Result<(), Fault> {
        for (index, leaf) in (first..self.published.size).zip(leaves) {
            let (number, at) = (index / TILE_WIDTH, usize::try_from(index % TILE_WIDTH).unwrap_or(0));
            let stored = self.tiles.hashes(0, number).ok().and_then(|hashes| hashes.get(at).copied());
            if stored == Some(*leaf) {
                continue;
            }
            let tile = TilePath::of_size(TileKind::Hashes(0), number, self.published.size)
                .map(|tile| tile.path())
                .unwrap_or_default();
            let Some(stored) = stored else {
                return Err(Fault::new(tile, "tile", "it is missing or too short"));
            };
            // Which of the two is wrong? The one that does not lead to the signed root.
            let proves = |leaf: &Hash| {
                let size = self.published.size;
                prove_inclusion(&self.tiles, index, size)
                    .is_ok_and(|proof| check_inclusion(&proof, index, size, leaf, &self.published.root))
            };
            if proves(leaf) || !proves(&stored) {
                return Err(Fault::new(tile, "tile", format!("its hash of entry {index} is not the entry's")));
            }
            return Err(Fault::entry(index, "entry", "its bytes do not have the hash that the log signed"));
        }
        Ok(())
    }

    fn entry(&mut self, entry: Examined, leaf: Hash) -> Result<(), Fault> {
        let index = entry.index;
        self.report.checked.entries += 1;
        let mut claim = Claim::default();
        match entry.content {
            Content::Block(block) => self.block(index, leaf, block)?,
            Content::Signed(signed) => {
                self.report.checked.signatures += 1;
                let (transaction, key) = *signed;
                let (tiles, journal) = (&self.tiles, &self.journal);
                let counts =
                    self.ledger.signed(index, &transaction, &key, |earlier| read_entry(tiles, journal, earlier));
                claim = Claim::of(&transaction, counts);
                if let (true, Transaction::Erase(erase)) = (counts, &transaction) {
                    self.absent.erased(&erase.payload_sha256, &erase.patient);
                }
            }
            Content::Bad(reason, transaction) => {
                self.report.checked.signatures += 1;
                claim = transaction.map_or(claim, |transaction| Claim::of(&transaction, false));
                self.ledger.bad(index, reason);
            }
            Content::Audit(audit) => {
                if let AuditEntry::Redaction(redaction) = audit.as_ref() {
                    self.absent.redacted(&redaction.sha256);
                }
                self.audit.entry(index, *audit);
            }
            Content::Foreign(reason) => return Err(Fault::entry(index, "entry", reason)),
        }
        let Some(packs) = &mut self.packs else {
            self.report.checked.unchecked_blobs += entry.named.len() as u64;
            return Ok(());
        };
        let passed = packs.follow(&entry.mentioned)?;
        for hash in entry.named.iter().filter(|hash| !passed.contains(hash)) {
            if !packs.holds(hash)? && !self.unpublished_blobs.contains(hash) {
                self.absent.named(*hash, index, claim);
            }
        }
        Ok(())
    }

    fn block(&mut self, index: u64, leaf: Hash, block: Block) -> Result<(), Fault> {
        let (prev, height, time) = match &self.last_block {
            Some((leaf, last)) => (*leaf, last.height + 1, last.time),
            None => (Block::NO_PREVIOUS, 0, 0),
        };
        let broken = |message: &str| Err(Fault::entry(index, "block", message));
        if block.height != height || block.prev_hash() != Ok(prev) {
            return broken("the block does not continue the one before");
        }
        if block.first != self.block_end || block.first.checked_add(block.count) != Some(index) {
            return broken("the block does not cover the entries since the one before");
        }
        if block.time < time || !block.time.is_multiple_of(60) {
            return broken("time goes backwards, or is not rounded to the minute");
        }
        self.audit.block(block.time)?;
        self.report.checked.blocks += 1;
        self.block_end = index + 1;
        self.last_block = Some((leaf, block));
        Ok(())
    }
}

/// An earlier entry's bytes, wherever they are.
fn read_entry(tiles: &TileReader, journal: &JournalCheck, index: u64) -> Option<Vec<u8>> {
    if index >= tiles.size() {
        return journal.entries_from(index).ok()?.into_iter().next();
    }
    // The entry was verified when it went by; a file that changed since then must not count.
    tiles.entry(index).ok()
}

fn rewritten(known: &Checkpoint) -> Fault {
    let message = format!("the pinned head of size {} is not in this log: it was rewritten", known.size);
    Fault::new("checkpoint", "pinned", message)
}
