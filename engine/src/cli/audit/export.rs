//! `audit export`: a log's entries on stdout, as they are stored or as FHIR.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use epiledger_ledger::{AuditEntry, AuditLogEntry, LogReader, parse_audit_entry, parse_ledger_entry};

use super::super::exit::{Exit, Failure};
use super::fhir;

/// The form of an export.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(in super::super) struct Form {
    /// FHIR R4 AuditEvent resources, one a line.
    #[arg(long)]
    fhir: bool,
    /// Each entry as it is stored and hashed, one a line, block leaves too.
    #[arg(long)]
    jsonl: bool,
}

/// Writes all entries. Each is compared with its tile on the way; a broken one ends the export with exit 6.
pub(super) fn run(dir: &Path, form: &Form) -> Result<(), Failure> {
    if !dir.is_dir() {
        return Err(Failure::usage(format!("`{}` is no folder", dir.display())));
    }
    let broken = |what: String| Failure::new(Exit::Broken, format!("{} is broken at {what}", dir.display()));
    let reader = LogReader::open(dir)?;
    let mut out = Output(BufWriter::new(std::io::stdout().lock()));
    // A block dates the entries before it.
    let mut undated: Vec<(u64, AuditEntry)> = Vec::new();
    for item in reader.entries(0) {
        let (index, entry, _) = item?;
        if form.jsonl {
            out.line(&entry)?;
            continue;
        }
        let parsed = parse_audit_entry(&entry).map_err(|error| match parse_ledger_entry(&entry) {
            Ok(_) => Failure::usage(format!(
                "{} is a ledger, and --fhir is the audit log's form: take --jsonl",
                dir.display()
            )),
            Err(_) => broken(format!("entry {index}: {error}")),
        });
        match parsed? {
            AuditLogEntry::Entry(entry) => undated.push((index, entry)),
            AuditLogEntry::Block(block) => {
                for (index, entry) in undated.drain(..) {
                    let event = fhir::audit_event(&reader.checkpoint().origin, index, &entry, block.time);
                    out.line(event.to_string().as_bytes())?;
                }
            }
        }
    }
    out.0.flush().map_err(Failure::of)
}

struct Output<W: Write>(W);

impl<W: Write> Output<W> {
    fn line(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).and_then(|()| self.0.write_all(b"\n")).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::of("the reader of stdout went away"),
            _ => Failure::of(error),
        })
    }
}
