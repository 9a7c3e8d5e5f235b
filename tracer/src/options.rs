//! PURE: which options of a mount may be seen. A file system may show whatever it was given, passwords among it, so what is
//! not known to be harmless is counted and forgotten: no other room ever holds it.
//!
//! A name alone is not enough: a value is shown only in the form that this option has, a number, one of a few words, a path.

use crate::{mountinfo::unescape, output::escape::escape};

/// Options of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The mount's own.
    pub vfs: Shown,
    /// Those of its file system; `None` where the kernel does not tell.
    pub fs: Option<Shown>,
}

/// The options of one list that may be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// As the kernel has them, escaped.
    pub words: Vec<String>,
    /// How many more there are.
    pub hidden: usize,
}

impl Shown {
    /// Of a list as mountinfo has it: commas between, octal escapes within.
    pub fn read(text: &[u8]) -> Self {
        let mut shown = Self::default();
        for option in text.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            if is_harmless(option) {
                shown.words.push(escape(&unescape(option)));
            } else {
                shown.hidden += 1;
            }
        }
        shown
    }

    /// The words, and how many there are beside them; nothing when there are none.
    pub fn text(&self) -> String {
        let hidden = (self.hidden > 0).then(|| format!("({} hidden)", self.hidden));
        self.words.iter().cloned().chain(hidden).collect::<Vec<_>>().join(",")
    }
}

impl Options {
    /// How many may not be seen.
    pub fn hidden(&self) -> usize {
        self.vfs.hidden + self.fs.as_ref().map_or(0, |fs| fs.hidden)
    }

    /// Both lists as one, as findmnt has them: what either of them says to be read-only is.
    pub fn merged(&self) -> Shown {
        let lists = || [Some(&self.vfs), self.fs.as_ref()].into_iter().flatten();
        let is_access = |word: &&String| ["ro", "rw"].contains(&word.as_str());
        let mut words: Vec<String> = Vec::new();
        for word in lists().flat_map(|list| &list.words).filter(|word| !is_access(word)) {
            if !words.contains(word) {
                words.push(word.clone());
            }
        }
        let access = lists().flat_map(|list| &list.words).filter(is_access).min();
        Shown { words: access.cloned().into_iter().chain(words).collect(), hidden: self.hidden() }
    }
}

fn is_harmless(option: &[u8]) -> bool {
    let Some(at) = option.iter().position(|byte| *byte == b'=') else {
        return str::from_utf8(option).is_ok_and(|name| has(FLAGS, name));
    };
    let (Ok(name), value) = (str::from_utf8(&option[..at]), unescape(&option[at + 1..])) else { return false };
    if has(PATHS, name) {
        return true;
    }
    let Ok(value) = str::from_utf8(&value) else { return false };
    let mut words = WORDS.iter().filter(|(of, _)| *of == name).flat_map(|(_, words)| words.split(' '));
    has(NUMBERS, name) && is_number(value)
        || has(ADDRESSES, name) && is_address(value)
        || words.any(|word| is_word(word, value))
}

/// Whether one of the lines has this word.
fn has(lines: &[&str], word: &str) -> bool {
    each(lines).any(|known| known == word)
}

fn each<'a>(lines: &[&'a str]) -> impl Iterator<Item = &'a str> {
    lines.iter().flat_map(|line| line.split(' '))
}

/// The longest number: 64 bits in octal with a unit, or a version.
const MAX_NUMBER: usize = 24;
/// The longest address: IPv6 with IPv4 at its end (`INET6_ADDRSTRLEN` of `netinet/in.h` without its end).
const MAX_ADDRESS: usize = 45;

/// Decimal with a fraction and a unit, or hexadecimal.
fn is_number(value: &str) -> bool {
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decimal = value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', 'T', '%']).unwrap_or(value);
    value.len() <= MAX_NUMBER
        && match (value.strip_prefix("0x"), decimal.split_once('.')) {
            (Some(digits), _) => hexadecimal(digits),
            (None, Some((before, behind))) => whole(before) && whole(behind),
            (None, None) => whole(decimal),
        }
}

fn is_address(value: &str) -> bool {
    value.len() <= MAX_ADDRESS
        && value.contains(['.', ':'])
        && value.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:".contains(&byte))
}

/// A word, or with a level behind it: `zstd:3`.
fn is_word(word: &str, value: &str) -> bool {
    value.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number))
}

/// Options without a value: of mounts, of every superblock, and of file systems. A blank between two, here and below.
const FLAGS: &[&str] = &[
    // fs/proc_namespace.c
    "rw ro nosuid nodev noexec relatime noatime nodiratime strictatime nosymfollow idmapped sync dirsync mand",
    "lazytime",
    // security/, all disks
    "seclabel acl noacl user_xattr nouser_xattr barrier nobarrier discard nodiscard quota noquota usrquota",
    "grpquota prjquota uqnoenforce gqnoenforce pqnoenforce dax norecovery",
    // ext2, ext4
    "delalloc nodelalloc journal_checksum journal_async_commit auto_da_alloc noauto_da_alloc noload",
    "block_validity noblock_validity bsddf minixdf grpid nogrpid i_version prefetch_block_bitmaps",
    "no_prefetch_block_bitmaps dioread_lock dioread_nolock init_itable noinit_itable orlov oldalloc",
    // xfs
    "attr2 noattr2 inode64 inode32 largeio nolargeio wsync swalloc ikeep noikeep filestreams nouuid noalign",
    // btrfs
    "ssd nossd ssd_spread nospace_cache space_cache nodatacow nodatasum autodefrag degraded flushoncommit",
    "compress compress-force user_subvol_rm_allowed clear_cache notreelog",
    // f2fs
    "background_gc inline_xattr inline_data inline_dentry flush_merge extent_cache",
    // tmpfs, proc, sysfs, cgroup, bpf and their kind
    "noswap nsdelegate memory_recursiveprot memory_localevents memory_hugetlb_accounting favordynmods",
    "pids_localevents xattr cpu cpuacct cpuset memory devices freezer blkio net_cls net_prio perf_event",
    "hugetlb pids rdma misc direct indirect offset",
    // overlay
    "userxattr volatile nouserxattr default_permissions",
    // fuse
    "allow_other",
    // NFS, CIFS, Ceph, 9p
    "hard soft softerr intr nointr posix cto nocto ac noac lock nolock rdirplus nordirplus sharecache",
    "nosharecache resvport noresvport fsc nofsc migration nomigration softreval nosoftreval mapposix mapchars",
    "serverino noserverino forceuid noforceuid forcegid noforcegid nounix unix nobrl persistenthandles dirstat",
    "nodcache dcache copyfrom nocopyfrom",
    // FAT, NTFS, ISO 9660
    "utf8 quiet flush showexec nojoliet norock windows_names sys_immutable nohidden",
];

/// Options whose value is a number, with a unit at most.
const NUMBERS: &[&str] = &[
    "size nr_inodes nr_blocks mode uid gid ptmxmode max commit barrier stripe resuid resgid",
    "inode_readahead_blks max_batch_time min_batch_time journal_ioprio max_dir_size_kb sb logbufs logbsize",
    "sunit swidth allocsize subvolid thread_pool max_inline metadata_ratio active_logs hidepid pagesize",
    "min_size fd pgrp timeout minproto maxproto pipe_ino user_id group_id max_read blksize vers minorversion",
    "rsize wsize bsize namlen timeo retrans acregmin acregmax acdirmin acdirmax actimeo port mountport",
    "mountvers nconnect max_connect esize handletimeout echo_interval closetimeo msize version wfdno rfdno",
    "access cache fmask dmask umask codepage allow_utime block rasize caps_max file_mode dir_mode afid dfltuid",
    "dfltgid",
];

/// Options whose value is one of these words.
const WORDS: &[(&str, &str)] = &[
    ("errors", "continue remount-ro panic"),
    ("data", "ordered journal writeback"),
    ("data_err", "abort ignore"),
    ("jqfmt", "vfsold vfsv0 vfsv1"),
    ("dax", "always never inode"),
    ("compress", "zlib lzo zstd no none"),
    ("compress-force", "zlib lzo zstd no none"),
    ("discard", "async sync"),
    ("space_cache", "v1 v2"),
    ("fatal_errors", "bug panic"),
    ("background_gc", "on off sync"),
    ("huge", "never always within_size advise deny force"),
    ("hidepid", "off noaccess invisible ptraceable"),
    ("subset", "pid"),
    ("name", "systemd elogind"),
    ("redirect_dir", "on off follow nofollow"),
    ("index", "on off"),
    ("xino", "on off auto"),
    ("metacopy", "on off"),
    ("nfs_export", "on off"),
    ("uuid", "on off null auto"),
    ("verity", "on off require"),
    ("fsync", "volatile auto strict"),
    ("proto", "tcp tcp6 udp udp6 rdma rdma6"),
    ("mountproto", "tcp tcp6 udp udp6"),
    ("sec", "sys null none krb5 krb5i krb5p ntlm ntlmv2 ntlmssp ntlmsspi"),
    ("local_lock", "none all flock posix"),
    ("lookupcache", "all none pos positive"),
    ("write", "lazy eager wait"),
    ("xprtsec", "none tls mtls"),
    ("cache", "strict none loose mmap fscache readahead"),
    ("trans", "virtio tcp fd unix rdma xen"),
    ("version", "9p2000 9p2000.u 9p2000.L"),
    ("access", "user any client"),
    ("iocharset", "utf8 ascii iso8859-1 cp437"),
    ("shortname", "lower win95 winnt mixed"),
    ("reparse", "default nfs wsl"),
];

/// Options whose value is a path, or several.
const PATHS: &[&str] = &["lowerdir lowerdir+ datadir+ upperdir workdir subvol"];

/// Options whose value is a host's address, never its name.
const ADDRESSES: &[&str] = &["addr clientaddr mountaddr srcaddr"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(options: &str) -> String {
        Shown::read(options.as_bytes()).text()
    }

    #[test]
    fn what_is_harmless_is_shown() {
        for options in [
            "rw,nosuid,nodev,noexec,relatime,idmapped",
            "rw,seclabel,size=1628344k,nr_inodes=4096,mode=755,inode64,huge=within_size",
            "rw,errors=remount-ro,data=ordered,stripe=64,commit=5",
            "rw,ssd,discard=async,space_cache=v2,compress=zstd:3,subvolid=256,subvol=/@",
            "rw,lowerdir=/a:/b,upperdir=/c,workdir=/d,index=off,xino=off",
            "rw,vers=4.2,rsize=1048576,hard,proto=tcp,timeo=600,retrans=2,sec=krb5p,clientaddr=fe80::1,addr=10.0.0.1",
            "rw,gid=5,mode=620,ptmxmode=000",
            "rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=131072",
            "rw,access=client,trans=virtio,cache=0x5,version=9p2000.L",
        ] {
            assert_eq!(text(options), options);
        }
        assert_eq!(text("upperdir=/a\\040b\\134c\\054d"), "upperdir=/a b\\x5cc,d");
        assert_eq!(text(""), "");
    }

    #[test]
    fn everything_else_is_counted() {
        assert_eq!(text("rw,password=hunter2,username=joe"), "rw,(2 hidden)");
        assert_eq!(text("secret=AQBb,key=k,vers=3.0"), "vers=3.0,(2 hidden)");
        for secret in [
            "password",
            "pass=",
            "=rw",
            "rw=hunter2",
            "data=hunter2",
            "size=hunter2",
            "size=0xhunter2",
            "size=1k2",
            "size=.5",
            "addr=hunter2",
            "addr=beef",
            "compress=zstd:hunter2",
            "sec=krb5:hunter2",
            "size",
            "mode=",
            "\u{e9}=1",
            "size=1234567890123456789012345",
            "context=\"system_u:object_r:tmp_t:s0\"",
        ] {
            assert_eq!(text(secret), "(1 hidden)", "{secret}");
        }
        assert_eq!(Shown::read(b"\xff,size=\xff,\xff=1"), Shown { words: vec![], hidden: 3 });
    }

    #[test]
    fn both_lists_become_one() {
        let merged = |vfs: &str, fs: &str| {
            Options { vfs: Shown::read(vfs.as_bytes()), fs: Some(Shown::read(fs.as_bytes())) }.merged().text()
        };
        assert_eq!(merged("rw,relatime", "rw,size=4k,password=x"), "rw,relatime,size=4k,(1 hidden)");
        assert_eq!(merged("rw,nodev", "ro,seclabel"), "ro,nodev,seclabel");
        assert_eq!(merged("ro,y", "rw,x"), "ro,(2 hidden)");
        let unknown = Options { vfs: Shown::read(b"ro"), fs: None };
        assert_eq!((unknown.merged().text(), unknown.hidden()), ("ro".to_owned(), 0));
    }

    proptest! {
        #[test]
        fn a_secret_never_comes_through(
            before in "[a-z,=]{0,12}", name in "(password|pass|secret|key|token|credentials)", secret in "S3[a-zA-Z0-9!]{4,20}",
            behind in "[a-z,=]{0,12}",
        ) {
            let options = format!("{before},{name}={secret},{behind}");
            prop_assert!(!text(&options).contains(&secret));
            // Nor as the value of an option that is known.
            for name in each(NUMBERS).chain(each(ADDRESSES)).chain(WORDS.iter().map(|(name, _)| *name)) {
                prop_assert_eq!(text(&format!("{name}={secret}")), "(1 hidden)");
            }
        }

        #[test]
        fn each_option_is_shown_or_counted(bytes: Vec<u8>) {
            let shown = Shown::read(&bytes);
            let given = bytes.split(|byte| *byte == b',').filter(|option| !option.is_empty()).count();
            prop_assert_eq!(shown.words.len() + shown.hidden, given);
            prop_assert!(!shown.text().chars().any(char::is_control));
        }
    }
}
