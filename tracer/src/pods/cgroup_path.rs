//! PURE: from a cgroup's path to the pod whose own cgroup it is. Touches nothing.
//!
//! A container may be given its own cgroups to create, and can then make `kubepods/pod<someone else's uid>` below its
//! own. So the whole path counts: what lies below a pod is never a pod.

use super::PodUid;

/// The kubelet's name for the cgroup above all pods (pkg/kubelet/cm: `defaultNodeAllocatableCgroupName`).
const KUBEPODS: &str = "kubepods";
/// The classes that have a cgroup of their own; guaranteed pods lie directly below [`KUBEPODS`].
const QOS: [&str; 2] = ["besteffort", "burstable"];

/// The pod whose own cgroup the path names, relative to the hierarchy's root and with a leading `/`, as the kernel
/// prints it. `None` for everything else: a container, a slice above pods, a look-alike.
pub fn pod_of(path: &str) -> Option<PodUid> {
    let components: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    if components.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return None;
    }
    let (name, parents) = components.split_last()?;
    if (1..=parents.len()).any(|end| own(&parents[..end]).is_some()) {
        return None;
    }
    pod(name, parents)
}

/// The pod of these components, whatever lies above.
fn own(components: &[&str]) -> Option<PodUid> {
    let (name, parents) = components.split_last()?;
    pod(name, parents)
}

fn pod(name: &str, parents: &[&str]) -> Option<PodUid> {
    systemd(name, parents).or_else(|| cgroupfs(name, parents))
}

/// `…/kubepods/burstable/pod<uid>`: the class is a directory, or missing.
fn cgroupfs(name: &str, parents: &[&str]) -> Option<PodUid> {
    let uid = PodUid::parse(name.strip_prefix("pod")?)?;
    let (last, above) = parents.split_last()?;
    let root = if QOS.contains(last) { *above.last()? } else { *last };
    (root == KUBEPODS).then_some(uid)
}

/// `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice`: a slice's name holds all its parents'
/// names, joined with `-`, and its path must show each of them.
fn systemd(name: &str, parents: &[&str]) -> Option<PodUid> {
    let (parent, pod) = name.strip_suffix(".slice")?.rsplit_once('-')?;
    let uid = PodUid::parse_systemd(pod.strip_prefix("pod")?)?;
    let root = QOS.iter().find_map(|class| parent.strip_suffix(class)?.strip_suffix('-')).unwrap_or(parent);
    let is_root = root == KUBEPODS || root.strip_suffix(KUBEPODS).is_some_and(|prefix| prefix.ends_with('-'));
    (is_root && is_chain(parent, parents)).then_some(uid)
}

/// Whether the path ends in the slice and all the slices that its name says it lies in.
fn is_chain(slice: &str, path: &[&str]) -> bool {
    let mut slice = slice;
    let mut path = path.iter().rev();
    loop {
        let named = path.next().and_then(|name| name.strip_suffix(".slice"));
        if named != Some(slice) {
            return false;
        }
        match slice.rsplit_once('-') {
            Some((parent, _)) => slice = parent,
            None => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::pod_uid::tests::any_uid;
    use proptest::prelude::*;

    const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
    const UNIT: &str = "0f7ca4d1_7b0c_4a4e_9d5e_5a1d2f3b4c5d";
    const HASH: &str = "6f5b0a2c9d3e4f1a8b7c6d5e4f3a2b1c";

    /// `@` is the uid, `%` a systemd unit's form of it, `#` a static pod's.
    fn path(template: &str) -> String {
        template.replace('@', UID).replace('%', UNIT).replace('#', HASH)
    }

    #[test]
    fn a_pods_own_cgroup() {
        let table: &[(&str, &str)] = &[
            ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod%.slice", UID),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%.slice", UID),
            ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod#.slice", HASH),
            ("/kubepods.slice/kubepods-pod%.slice", UID),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod%.slice",
                UID,
            ),
            ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod%.slice", UID),
            ("/system.slice/node.service/kubepods.slice/kubepods-pod%.slice", UID),
            ("/kubepods/burstable/pod@", UID),
            ("/kubepods/besteffort/pod@", UID),
            ("/kubepods/besteffort/pod#", HASH),
            ("/kubepods/pod@", UID),
            ("/kubelet/kubepods/pod@", UID),
            ("/custom/root/kubepods/burstable/pod@", UID),
        ];
        for (template, uid) in table {
            assert_eq!(pod_of(&path(template)), PodUid::parse(uid), "{template}");
        }
    }

    #[test]
    fn what_is_no_pods_cgroup() {
        for template in [
            "",
            "/",
            "kubepods/pod@",
            "/kubepods",
            "/kubepods.slice",
            "/kubepods.slice/kubepods-burstable.slice",
            "/pod@",
            "/kubepods/pod",
            "/kubepods/pod%",
            "/kubepods/podx@",
            "/kubepods/@",
            "/kubepods/guaranteed/pod@",
            "/kubepods/burstable/burstable/pod@",
            "/kubepods/burstable/x/pod@",
            "/mykubepods/pod@",
            "/kubepods//pod@",
            "/kubepods/pod@/",
            "/kubepods/../kubepods/pod@",
            "/../kubepods/pod@",
            "/burstable/pod@",
            // A container, and what a container made of its delegated cgroup.
            "/kubepods/pod@/0a1b2c",
            "/kubepods/pod@/0a1b2c/kubepods/pod#",
            "/kubepods/burstable/pod#/kubepods/burstable/pod@",
            "/kubepods.slice/kubepods-pod%.slice/cri-containerd-0a1b.scope",
            "/kubepods.slice/kubepods-pod%.slice/cri-containerd-0a1b.scope/kubepods/pod#",
            "/kubepods.slice/kubepods-pod%.slice/x.scope/kubepods.slice/kubepods-pod#.slice",
            // Names that contradict their place.
            "/kubepods-pod%.slice",
            "/x.slice/kubepods-pod%.slice",
            "/kubepods.slice/kubepods-burstable-pod%.slice",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-burstable-pod%.slice",
            "/kubepods.slice/kubepods-guaranteed.slice/kubepods-guaranteed-pod%.slice",
            "/kubepods.slice/kubepods-pod@.slice",
            "/kubepods.slice/kubepods-pod%.scope",
            "/kubepods.slice/kubepods-pod%",
            "/kubelet-kubepods.slice/kubelet-kubepods-pod%.slice",
            "/mykubepods.slice/mykubepods-pod%.slice",
            "/user.slice/user-1000.slice/user-1000-pod%.slice",
        ] {
            assert_eq!(pod_of(&path(template)), None, "{template}");
        }
    }

    fn any_pod_path() -> impl Strategy<Value = (PodUid, String)> {
        let class = prop_oneof![Just(None), Just(Some("besteffort")), Just(Some("burstable"))];
        (any_uid(), class, any::<bool>()).prop_map(|(uid, class, systemd)| {
            let unit = uid.as_str().replace('-', "_");
            let path = match (systemd, class) {
                (true, Some(c)) => {
                    format!("/kubepods.slice/kubepods-{c}.slice/kubepods-{c}-pod{unit}.slice")
                }
                (true, None) => format!("/kubepods.slice/kubepods-pod{unit}.slice"),
                (false, Some(c)) => format!("/kubepods/{c}/pod{uid}"),
                (false, None) => format!("/kubepods/pod{uid}"),
            };
            (uid, path)
        })
    }

    proptest! {
        #[test]
        fn every_naming_is_read((uid, path) in any_pod_path()) {
            prop_assert_eq!(pod_of(&path), Some(uid));
        }

        #[test]
        fn nothing_below_a_pod_is_a_pod((_, above) in any_pod_path(), between in "(/[a-z0-9.-]{1,9}){0,3}", (_, below) in any_pod_path()) {
            prop_assert_eq!(pod_of(&format!("{above}{between}{below}")), None);
        }

        #[test]
        fn nothing_panics(path in "\\PC*|(/(kubepods|pod|[a-f0-9-]{1,36}|burstable|kubepods-|\\.slice){0,3}){0,5}") {
            let _ = pod_of(&path);
        }
    }
}
