//! The disk as a file system that a process can use.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::libc;

use super::{Change, Disk, NameChange, Node, ROOT};

/// Nobody but the one process changes anything.
const TTL: Duration = Duration::from_secs(3600);

/// What the kernel talks to.
pub(super) struct Mounted {
    disk: Arc<Mutex<Disk>>,
    /// Called when the power goes: nothing the process does from then on may be believed.
    off: Box<dyn Fn() + Send + Sync>,
}

impl Mounted {
    pub(super) fn new(disk: Arc<Mutex<Disk>>, off: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { disk, off }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Carries out a change or a sync, unless the power is off.
    fn change<T>(&self, change: impl FnOnce(&mut Disk) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut disk = self.disk();
        if disk.spend() {
            return change(&mut disk);
        }
        drop(disk);
        (self.off)();
        Err(Errno::EIO)
    }
}

impl Disk {
    fn attr(&self, number: u64) -> Result<FileAttr, Errno> {
        let (kind, size, perm) = match self.nodes.get(&number).ok_or(Errno::ENOENT)? {
            Node::File { now, .. } => (FileType::RegularFile, now.len() as u64, 0o600),
            Node::Dir { .. } => (FileType::Directory, 0, 0o700),
        };
        let time: SystemTime = UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn make(&mut self, dir: u64, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        if self.child(dir, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let number = self.add(node);
        if !self.change_names(dir, NameChange::Put(name.to_owned(), number)) {
            return Err(Errno::ENOTDIR);
        }
        self.attr(number)
    }

    fn remove(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.child(dir, name).ok_or(Errno::ENOENT)?;
        if self.names(number).is_some_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        self.change_names(dir, NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let number = self.child(from.0, from.1).ok_or(Errno::ENOENT)?;
        let target = self.child(to.0, to.1).and_then(|there| self.names(there));
        if target.is_some_and(|names| !names.is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        let (old, new) = (from.1.to_owned(), to.1.to_owned());
        if from.0 == to.0 {
            self.change_names(from.0, NameChange::Rename(old, new, number));
        } else {
            self.change_names(to.0, NameChange::Put(new, number));
            self.change_names(from.0, NameChange::Remove(old));
        }
        Ok(())
    }
}

fn usable(number: u64) -> Result<usize, Errno> {
    usize::try_from(number).map_err(|_| Errno::EFBIG)
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        match disk
            .child(parent.0, name)
            .ok_or(Errno::ENOENT)
            .and_then(|number| disk.attr(number))
        {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk().attr(ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = match size {
            None => Ok(()),
            Some(size) => self.change(|disk| {
                disk.change_file(ino.0, Change::Size(usable(size)?));
                Ok(())
            }),
        };
        match changed.and_then(|()| self.disk().attr(ino.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        match self.change(|disk| disk.make(parent.0, name, Node::dir())) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.change(|disk| disk.make(parent.0, name, Node::file())) {
            Ok(attr) => reply.created(
                &TTL,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.change(|disk| disk.remove(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.change(|disk| disk.remove(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let renamed = self.change(|disk| disk.rename((parent.0, name), (newparent.0, newname)));
        done(reply, renamed);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.disk();
        let Some(Node::File { now, .. }) = disk.nodes.get(&ino.0) else {
            return reply.error(Errno::EBADF);
        };
        let from = usize::try_from(offset).map_or(now.len(), |at| at.min(now.len()));
        let to = now.len().min(from + size as usize);
        reply.data(&now[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.change(|disk| {
            let at = usable(offset)?;
            let data = data.to_vec();
            disk.change_file(ino.0, Change::Write { at, data });
            Ok(())
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(error),
        }
    }

    /// Called for each `close`, which promises nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.sync(ino));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.sync(ino));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = self.disk();
        let Some(names) = disk.names(ino.0) else {
            return reply.error(Errno::ENOTDIR);
        };
        let own = [(OsStr::new("."), ino.0), (OsStr::new(".."), ROOT)];
        let names = names
            .iter()
            .map(|(name, number)| (name.as_os_str(), *number));
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (nth, (name, number)) in own.into_iter().chain(names).enumerate().skip(from) {
            let kind = match disk.nodes.get(&number) {
                Some(Node::File { .. }) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(number), nth as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // Only what makes a file longer has something to lose here.
        if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let grown = self.change(|disk| {
            let end = usable(offset + length)?;
            let size = usable(disk.attr(ino.0)?.size)?;
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && end > size {
                disk.change_file(ino.0, Change::Size(end));
            }
            Ok(())
        });
        done(reply, grown);
    }
}

impl Mounted {
    fn sync(&self, ino: INodeNo) -> Result<(), Errno> {
        self.change(|disk| {
            if disk.sync(ino.0) {
                Ok(())
            } else {
                Err(Errno::EBADF)
            }
        })
    }
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
