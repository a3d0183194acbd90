//! Two verifiers that share no line with this crate, in Python and in Go, take our logs and no tampered copy of them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, OnceLock},
};

use epiledger_ledger::{AuditEntry, entry::AccessDenied};

use crate::folder::{TestClock, create, files, small_audit, small_ledger};

/// Debian's place for Go packages.
const GO_PATH: &str = "/usr/share/gocode";

fn verifiers() -> &'static Path {
    Path::new("../tests/verifiers")
}

/// Runs Python in the verifiers' folder; `None` where it is missing.
pub fn python(arguments: &[&OsStr]) -> Option<Output> {
    crate::python::python()?.args(arguments).current_dir(verifiers()).output().ok()
}

/// The Go verifier, compiled once; `None` where Go or its packages are missing, and nothing requires them.
fn go() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let packages = Path::new(GO_PATH).join("src/golang.org/x/mod/sumdb/tlog").exists();
        let compiler = Command::new("go").arg("version").output().is_ok();
        if !packages || !compiler {
            crate::skip::skip("the Go verifier needs Debian's golang and golang-golang-x-mod-dev");
            return None;
        }
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let binary = temporary.join(format!("verify-go-{}", std::process::id()));
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(verifiers().join("verify.go"))
            .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH), ("GOFLAGS", ""), ("CGO_ENABLED", "0")])
            .env("GOCACHE", temporary.join("go-cache"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(binary)
    };
    BUILT.get_or_init(build).as_deref()
}

/// Each verifier by name, and what it says of a folder.
pub fn verify(dir: &Path, with_python: bool) -> Vec<(&'static str, Output)> {
    let go = go().map(|binary| ("go", Command::new(binary).arg(dir).output().unwrap()));
    let python = if with_python { python(&["verify.py".as_ref(), dir.as_ref()]) } else { None };
    python.map(|output| ("python", output)).into_iter().chain(go).collect()
}

fn assert_good(dir: &Path, line: &str) {
    for (name, output) in verify(dir, true) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.starts_with(line), "{name}: {text}");
    }
}

#[track_caller]
fn assert_broken(dir: &Path, with_python: bool, what: &str) {
    for (name, output) in verify(dir, with_python) {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name} takes {what}");
        assert!(text.starts_with("BROKEN "), "{name} on {what}: {text}");
    }
}

/// The files that the verifiers answer for; journal and blobs are the auditor's.
fn theirs(dir: &Path) -> Vec<PathBuf> {
    let mut found = files(&dir.join("tile"));
    found.extend([dir.join("key"), dir.join("checkpoint")]);
    found
}

/// A log of full and partial tiles on two levels, published at many sizes.
fn long_log(dir: &Path) {
    let log = create(dir, "test.example/audit", Arc::new(TestClock::default()));
    for (round, count) in [1, 30, 224, 1, 300, 12].into_iter().enumerate() {
        let denied = |n| AccessDenied { principal: format!("p{round}"), route: "/v1".into(), count: n };
        let entries = (0..count).map(|n| AuditEntry::AccessDenied(denied(n)).to_canonical().unwrap().into());
        log.append(entries.collect()).unwrap();
        log.flush().unwrap();
    }
}

#[test]
fn both_verifiers_take_our_logs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(create(&at("empty"), "test.example/audit", Arc::new(TestClock::default())));
    small_ledger(&at("ledger"));
    small_audit(&at("audit"));
    long_log(&at("long"));
    assert_good(&at("empty"), "test.example/audit: 0 entries re-hashed, 0 blocks linked, 0 files");
    assert_good(&at("ledger"), "test.example/ledger: 11 entries re-hashed, 2 blocks linked");
    assert_good(&at("audit"), "test.example/audit: ");
    assert_good(&at("long"), "test.example/audit: 574 entries re-hashed, 6 blocks linked");
}

/// RFC 8032, section 7.1, TEST 1 to 3, through the formulas beside the Python verifier.
#[test]
fn the_python_formulas_are_those_of_rfc_8032() {
    let program = r"
import ed25519
tests = [
  ('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', '',
   'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
   'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'),
  ('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', '72',
   '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
   '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00'),
  ('c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'af82',
   'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
   '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a'),
]
for secret, message, public, signature in tests:
    secret, message, public, signature = map(bytes.fromhex, (secret, message, public, signature))
    assert ed25519.sign(secret, message) == (public, signature)
    assert ed25519.verify(public, message, signature)
    assert not ed25519.verify(public, message + b'x', signature)
    for at in range(64):
        changed = bytearray(signature)
        changed[at] ^= 1 << at % 8
        assert not ed25519.verify(public, message, bytes(changed))
    # S + L is the same number to a careless verifier.
    larger = int.from_bytes(signature[32:], 'little') + ed25519.ORDER
    assert not ed25519.verify(public, message, signature[:32] + larger.to_bytes(32, 'little'))
neutral = (1).to_bytes(32, 'little')
assert not ed25519.verify(neutral, b'anything', neutral + bytes(32))
";
    let Some(output) = python(&["-c".as_ref(), program.as_ref()]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Go at every byte; Python, which starts slowly, at every 16th, and at the first and last.
#[test]
fn no_flipped_byte_passes_a_verifier() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    small_audit(&dir);
    for file in theirs(&dir) {
        let bytes = fs::read(&file).unwrap();
        // Bundles repeat each other at every published size: the newest is flipped whole, older ones here and there.
        let step = if bytes.len() > 600 { 37 } else { 1 };
        for at in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&file, &changed).unwrap();
            assert_broken(&dir, at % 16 == 0 || at + 1 == bytes.len(), &format!("byte {at} of {}", file.display()));
        }
        fs::write(&file, &bytes).unwrap();
    }
    assert_good(&dir, "test.example/audit: ");
}

#[test]
fn no_cut_missing_foreign_or_swapped_file_passes_a_verifier() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("log");
    long_log(&dir);
    let newest = |file: &Path| {
        let name = file.file_name().unwrap().to_str().unwrap();
        file.parent().unwrap().extension().is_none()
            || files(file.parent().unwrap()).iter().all(|other| {
                let width = |name: &str| name.parse::<u64>().unwrap();
                width(other.file_name().unwrap().to_str().unwrap()) <= width(name)
            })
    };
    for file in theirs(&dir) {
        let (bytes, name) = (fs::read(&file).unwrap(), file.display().to_string());
        for changed in [&bytes[..bytes.len() - 1], &bytes[..bytes.len() / 2], &[], &[&bytes[..], b"\n"].concat()] {
            fs::write(&file, changed).unwrap();
            assert_broken(&dir, true, &format!("{} bytes of {name}", changed.len()));
        }
        fs::remove_file(&file).unwrap();
        // An older partial tile may go: nothing refers to it any more.
        if newest(&file) {
            assert_broken(&dir, true, &format!("the folder without {name}"));
        }
        fs::write(&file, &bytes).unwrap();
    }
    for name in ["tile/0/003", "tile/0/002.p/200", "tile/3/000.p/1", "tile/entries/x001/000", "tile/x", "tile/8/0/000"]
    {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [0; 32]).unwrap();
        assert_broken(&dir, true, name);
        fs::remove_file(&path).unwrap();
    }
    for (one, other) in [("tile/0/000", "tile/0/001"), ("tile/entries/000", "tile/entries/001"), ("key", "checkpoint")]
    {
        swap(&dir, one, other);
        assert_broken(&dir, true, &format!("{one} and {other} swapped"));
        swap(&dir, one, other);
    }
    assert_good(&dir, "test.example/audit: ");
}

fn swap(dir: &Path, one: &str, other: &str) {
    let (bytes, others) = (fs::read(dir.join(one)).unwrap(), fs::read(dir.join(other)).unwrap());
    fs::write(dir.join(one), others).unwrap();
    fs::write(dir.join(other), bytes).unwrap();
}

/// A log whose tree and signature are right, and whose chain of blocks is not: another key's holder may sign anything.
#[test]
fn a_broken_chain_of_blocks_passes_no_verifier() {
    let temporary = tempfile::tempdir().unwrap();
    let (dir, good) = (temporary.path().join("log"), temporary.path().join("good"));
    let write = |fault: &str, dir: &Path| {
        let output = python(&["foreign.py".as_ref(), dir.as_ref(), fault.as_ref()]);
        let good = output.as_ref().is_none_or(|output| output.status.success());
        assert!(good, "{output:?}");
        output.is_some()
    };
    if !write("none", &good) {
        return;
    }
    assert_good(&good, "chain.example/log: 6 entries re-hashed, 2 blocks linked");
    for fault in ["height", "prev", "first", "count", "time", "minute", "open"] {
        write(fault, &dir);
        assert_broken(&dir, true, fault);
        fs::remove_dir_all(&dir).unwrap();
    }
}
