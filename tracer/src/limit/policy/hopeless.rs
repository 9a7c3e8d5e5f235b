//! PURE: globs that can match nothing, whatever a node has.

/// What disks are called by the kernel, before their letters and numbers.
const DISKS: [&str; 11] = ["sd", "vd", "xvd", "hd", "nvme", "dm-", "loop", "md", "nbd", "rbd", "mmcblk"];

/// What a glob of this key cannot match and why, and what to write instead.
pub(super) fn hopeless(key: &str, text: &str) -> Option<(&'static str, String)> {
    match key {
        "path" if !text.starts_with(['/', '*', '?']) => {
            Some(("no path, since paths begin with /", "write the whole path, or * before it".to_owned()))
        }
        "device" if is_kernels_name(text) => {
            Some(("no disk, since the kernel's names begin with /dev/", format!("write /dev/{text}")))
        }
        "device" if is_half_a_number(text) => {
            Some(("no disk, since a disk's number is MAJOR:MINOR in digits", "write it as \"8:16\"".to_owned()))
        }
        "podUid" if text.contains(|c: char| !c.is_ascii_hexdigit() && !matches!(c, '-' | '*' | '?')) => {
            Some(("no pod, since uids are hexadecimal digits and -", "write the pod's metadata.uid".to_owned()))
        }
        _ => None,
    }
}

/// Whether it is a disk's name without its directory. Names by id begin with a bus and a dash.
fn is_kernels_name(text: &str) -> bool {
    let rest = DISKS.iter().find_map(|kind| text.strip_prefix(kind));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether it begins as a number and can be none.
fn is_half_a_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let glob = |part: &str| part.contains(['*', '?']);
    text.split_once(':').is_some_and(|(major, minor)| digits(major) && !digits(minor) && !glob(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_may_have_is_not_refused() {
        for device in ["8:16", "8:*", "/dev/nvme0n1", "wwn-*", "nvme-Samsung_1", "disk0", "*", "usb-Stick-0:0", "sd?"] {
            assert_eq!(hopeless("device", device), None, "{device}");
        }
        assert_eq!(hopeless("podUid", "0f7ca4d1-*"), None);
        assert_eq!(hopeless("volume", "nvme0n1"), None);
    }

    #[test]
    fn what_no_node_has_is() {
        for device in ["nvme0n1", "sda", "sdb1", "dm-0", "8:x", "8:"] {
            assert!(hopeless("device", device).is_some(), "{device}");
        }
        assert!(hopeless("podUid", "web-0").is_some());
        assert!(hopeless("path", "var/lib").is_some());
    }
}
