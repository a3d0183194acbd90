//! The file system a log stands on, small enough to be replaced by a simulated disk in tests.
//!
//! Contract: bytes written are durable after `sync_data` of their file returned; a new name, a rename or a removal is
//! durable after `sync_dir` of its folder returned. Anything else may be lost, torn or reordered by a crash.
//! A failed write or sync leaves the file in an unknown state: callers stop, they never retry. After a failed sync, what
//! it was for may still be read, and no later sync makes it durable: only writing it again does.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// Folder operations.
pub trait Fs: Send + Sync {
    /// Makes one folder; its parent must exist. An existing one is no error.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a folder, sorted, with whether each is a folder itself.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>>;
    /// Opens an existing file for reading.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// The system's.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Makes an empty file for reading and writing, or empties an existing one.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
    /// Gives a file a new name in the same file system, replacing what has it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// The system's.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Holds a folder open, so that its `sync_dir` reports errors of everything since.
    ///
    /// # Errors
    /// The system's.
    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>>;
    /// Takes the exclusive lock of a file, made if missing, until the value is dropped. `WouldBlock` when it is held.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// A whole file.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let length = usize::try_from(file.length()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file.
pub trait FsFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from an offset.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` past the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// The system's.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// The system's.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// The system's; what is durable is unknown then.
    fn sync_data(&self) -> io::Result<()>;
}

/// An open folder.
pub trait FsDir: Send + Sync {
    /// Makes the folder's names durable.
    ///
    /// # Errors
    /// The system's; what is durable is unknown then.
    fn sync_dir(&self) -> io::Result<()>;
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdFs;

impl Fs for StdFs {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for item in fs::read_dir(dir)? {
            let item = item?;
            names.push((item.file_name().to_string_lossy().into_owned(), item.file_type()?.is_dir()));
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn FsDir>> {
        Ok(Box::new(File::open(dir)?))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Held(file))),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A lock that is held. Closing the file is not enough: a process that is started at that moment has a copy of it until
/// its program runs, and would hold the lock that long.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // What cannot be unlocked is unlocked when the file is closed.
        let _ = self.0.unlock();
    }
}

impl FsFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

impl FsDir for File {
    fn sync_dir(&self) -> io::Result<()> {
        self.sync_all()
    }
}
