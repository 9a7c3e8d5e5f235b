//! Real names, and what only looks like one.

use super::*;
use crate::pods::pod_uid::tests::any_uid;
use crate::pods::runtimes::Runtime;
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
        // Of a cluster inside of a container.
        "/docker/&/kubepods/pod@",
        "/system.slice/docker-&.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod%.slice",
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
        assert_eq!(pod_of(&path(template).replace('&', ID)), None, "{template}");
    }
}

const ID: &str = "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f2a4b6c";

/// The template, the pod with its class, and the container's runtime.
type Row = (&'static str, Option<(&'static str, Qos)>, Option<Option<Runtime>>);

/// `@`, `%` and `#` as above, `&` a container's id; then the pod, its class, and the container's runtime.
#[test]
fn whose_a_cgroup_is() {
    let table: &[Row] = &[
        ("/", None, None),
        ("/system.slice/containerd.service", None, None),
        ("/kubepods.slice/kubepods-burstable.slice", None, None),
        ("/kubepods.slice/kubepods-pod%.slice", Some((UID, Qos::Guaranteed)), None),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%.slice/cri-containerd-&.scope",
            Some((UID, Qos::Burstable)),
            Some(Some(Runtime::Containerd)),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod#.slice/crio-&.scope",
            Some((HASH, Qos::BestEffort)),
            Some(Some(Runtime::CriO)),
        ),
        // crun, and a systemd inside.
        (
            "/kubepods.slice/kubepods-pod%.slice/crio-&.scope/container",
            Some((UID, Qos::Guaranteed)),
            Some(Some(Runtime::CriO)),
        ),
        (
            "/kubepods.slice/kubepods-pod%.slice/cri-containerd-&.scope/system.slice/dbus.service",
            Some((UID, Qos::Guaranteed)),
            Some(Some(Runtime::Containerd)),
        ),
        (
            "/kubepods.slice/kubepods-pod%.slice/docker-&.scope",
            Some((UID, Qos::Guaranteed)),
            Some(Some(Runtime::Docker)),
        ),
        ("/kubepods/burstable/pod@/&", Some((UID, Qos::Burstable)), Some(None)),
        ("/kubepods/pod@/crio-&", Some((UID, Qos::Guaranteed)), Some(Some(Runtime::CriO))),
        ("/custom/root/kubepods/besteffort/pod@/&/init.scope", Some((UID, Qos::BestEffort)), Some(None)),
        // The drivers do not agree.
        (
            "/kubepods-burstable-pod%.slice:cri-containerd:&",
            Some((UID, Qos::Burstable)),
            Some(Some(Runtime::Containerd)),
        ),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod%.slice:cri-containerd:&",
            Some((UID, Qos::BestEffort)),
            Some(Some(Runtime::Containerd)),
        ),
        ("/system.slice:docker:&", None, Some(Some(Runtime::Docker))),
        // No pod's.
        ("/system.slice/docker-&.scope", None, Some(Some(Runtime::Docker))),
        ("/docker/&", None, Some(Some(Runtime::Docker))),
        ("/machine.slice/libpod-&.scope/container", None, Some(Some(Runtime::Podman))),
        ("/libpod_parent/libpod-&", None, Some(Some(Runtime::Podman))),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-&.scope/container",
            None,
            Some(Some(Runtime::Podman)),
        ),
        ("/system.slice/nerdctl-&.scope", None, Some(Some(Runtime::Containerd))),
        // A cluster inside of a container: the node's pods are the container's own matter.
        (
            "/docker/&/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod%.slice/cri-containerd-&.scope",
            None,
            Some(Some(Runtime::Docker)),
        ),
        // Who watches a container, and names that only look like one.
        ("/kubepods.slice/kubepods-pod%.slice/crio-conmon-&.scope", Some((UID, Qos::Guaranteed)), None),
        ("/machine.slice/libpod-conmon-&.scope", None, None),
        ("/kubepods/pod@/0a1b2c", Some((UID, Qos::Guaranteed)), None),
        ("/kubepods/pod@/x/&", Some((UID, Qos::Guaranteed)), None),
        ("/system.slice/docker-&", None, None),
        ("/system.slice/cri-containerd-&.service", None, None),
        ("/system.slice/&", None, None),
        ("/mydocker/&", None, None),
        ("/x-docker-&.scope", None, None),
    ];
    for (template, pod, runtime) in table {
        let owner = owner_of(&path(template).replace('&', ID));
        let pod = pod.map(|(uid, qos)| PodName { uid: PodUid::parse(uid).unwrap(), qos: Some(qos) });
        assert_eq!(owner.pod, pod, "{template}");
        assert_eq!(owner.container.as_ref().map(|one| one.runtime), *runtime, "{template}");
        assert!(owner.container.is_none_or(|one| one.id.as_str() == ID), "{template}");
    }
}

#[test]
fn whose_a_task_is() {
    let pod = Some(PodName { uid: PodUid::parse(UID).unwrap(), qos: Some(Qos::Guaranteed) });
    let table: &[(&str, Option<PodName>)] = &[
        ("", None),
        ("0::/\n", None),
        ("0::/kubepods/pod@/&\n", pod.clone()),
        (
            "4:memory:/kubepods/pod@/&\n1:name=systemd:/kubepods/pod@/&\n0::/system.slice/containerd.service\n",
            pod.clone(),
        ),
        ("0::/kubepods/pod@/&/a:b\n", pod),
        // From inside of a cgroup namespace.
        ("0::/../../kubepods/pod@/&\n", None),
    ];
    for (template, pod) in table {
        let cgroups = path(template).replace('&', ID);
        assert_eq!(of_task(&cgroups).and_then(|(_, path)| owner_of(path).pod), *pod, "{template}");
    }
}

#[test]
fn the_part_that_is_the_pods() {
    for (part, rest) in [
        ("/kubepods/pod@", ""),
        ("/kubepods/pod@", "/&"),
        ("/kubepods.slice/kubepods-pod%.slice", "/cri-containerd-&.scope/a/b"),
        ("/kubepods-burstable-pod%.slice:cri-containerd:&", "/a"),
    ] {
        let part = path(part).replace('&', ID);
        assert_eq!(pod_part(&(part.clone() + &path(rest).replace('&', ID))), Some(part.as_str()));
    }
    for template in ["/", "/docker/&", "/docker/&/kubepods/pod@", "/system.slice"] {
        assert_eq!(pod_part(&path(template).replace('&', ID)), None, "{template}");
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

    /// Whatever a container makes below its own cgroup, it stays that container of that pod.
    #[test]
    fn nobody_leaves_a_container((uid, above) in any_pod_path(), scope in any::<bool>(), below in "(/[a-z0-9:-]{1,9}){0,3}", (_, pod) in any_pod_path()) {
        let container = if scope { format!("/cri-containerd-{ID}.scope") } else { format!("/{ID}") };
        for path in [format!("{above}{container}"), format!("{above}{container}{below}{pod}")] {
            let owner = owner_of(&path);
            prop_assert_eq!(owner.pod.map(|pod| pod.uid), Some(uid.clone()));
            prop_assert_eq!(owner.container.map(|one| one.id.to_string()), Some(ID.to_owned()));
        }
    }

    #[test]
    fn nothing_panics(path in "\\PC*|(/(kubepods|pod|[a-f0-9-]{1,36}|burstable|kubepods-|\\.slice){0,3}){0,5}") {
        let _ = pod_of(&path);
        let _ = owner_of(&path);
    }
}
