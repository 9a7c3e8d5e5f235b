//! Whether two threads have one table of open files: kcmp(2).

use rustix::process::Pid;

/// `KCMP_FILES` of `linux/kcmp.h`.
const FILES: libc::c_int = 2;

/// Whether these threads share their open files. Where the kernel does not tell, they are taken to be apart, which only costs a second look.
pub fn share_files(one: u32, other: u32) -> bool {
    let pid = |id: u32| i32::try_from(id).ok().and_then(Pid::from_raw).map(Pid::as_raw_nonzero);
    let (Some(one), Some(other)) = (pid(one), pid(other)) else { return false };
    // SAFETY: it takes five numbers, and touches no memory of this process.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one.get(), other.get(), FILES, 0, 0) };
    order == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_shares_its_files_with_itself_and_not_with_nobody() {
        let own = std::process::id();
        assert!(share_files(own, own));
        assert!(!share_files(own, u32::MAX));
    }
}
