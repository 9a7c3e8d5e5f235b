//! A mount of a table as one JSON object: the contract of `docs/list.md`.

use serde::Serialize;

use super::{Text, VERSION, mount::MountObject};
use crate::{
    device::Dev,
    host::disk::{Behind, Used},
    listed::{Listed, Task},
    options::Options,
    output::{escape::escape, json::owner::OwnerObject},
};

#[derive(Serialize)]
pub(super) struct ListedObject<'a> {
    version: u32,
    #[serde(flatten)]
    mount: MountObject,
    parent_id: u32,
    options: OptionsObject<'a>,
    disks: Option<Vec<DiskObject<'a>>>,
    no_disk: Option<&'static str>,
    process: Option<ProcessObject>,
    owner: Option<OwnerObject<'a>>,
}

impl<'a> ListedObject<'a> {
    pub(super) fn of(listed: &'a Listed, task: Option<&'a Task>) -> Self {
        let mount = MountObject::of(&listed.mount).without_unknown_namespace();
        Self {
            version: VERSION,
            mount: if listed.idmapped { mount.idmapped() } else { mount },
            parent_id: listed.mount.parent_id,
            options: OptionsObject::of(&listed.options),
            disks: listed.behind.as_ref().and_then(disks),
            no_disk: listed.behind.as_ref().and_then(|behind| behind.as_ref().err()).map(|why| why.as_str()),
            process: task.map(ProcessObject::of),
            owner: task.and_then(|task| OwnerObject::of_process(&task.owner, task.named.as_ref())),
        }
    }
}

#[derive(Serialize)]
struct OptionsObject<'a> {
    vfs: &'a [String],
    fs: Option<&'a [String]>,
    hidden: usize,
}

impl<'a> OptionsObject<'a> {
    fn of(options: &'a Options) -> Self {
        let fs = options.fs.as_ref().map(|fs| fs.words.as_slice());
        Self { vfs: &options.vfs.words, fs, hidden: options.hidden() }
    }
}

/// Empty where there is none, nothing where it is not known.
fn disks(behind: &Behind) -> Option<Vec<DiskObject<'_>>> {
    match behind {
        Ok(used) => Some(used.iter().map(DiskObject::of).collect()),
        Err(why) if why.is_unknown() => None,
        Err(_) => Some(Vec::new()),
    }
}

/// A whole disk.
#[derive(Serialize)]
struct DiskObject<'a> {
    dev: Dev,
    name: &'a str,
    diskseq: Option<Text<u64>>,
    protected: Option<&'a [String]>,
}

impl<'a> DiskObject<'a> {
    fn of(used: &'a Used) -> Self {
        let Used { disk, protected } = used;
        Self { dev: disk.dev, name: &disk.name, diskseq: disk.diskseq.map(Text), protected: protected.as_deref() }
    }
}

/// The thread that the table was read through.
#[derive(Serialize)]
pub(super) struct ProcessObject {
    pid: u32,
    tid: u32,
    comm: String,
}

impl ProcessObject {
    pub(super) fn of(task: &Task) -> Self {
        Self { pid: task.pid, tid: task.tid, comm: escape(&task.comm) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::listed_line;
    use super::*;
    use crate::{
        host::{Disk, NoDisk},
        mountinfo,
        operation::Namespace,
        pods::cgroup_path::owner_of,
    };

    fn object(line: &str, namespace: Namespace, task: Option<&Task>) -> Value {
        let mounts = mountinfo::parse(line.as_bytes(), namespace).unwrap();
        serde_json::from_str(&listed_line(&mounts[0], task).unwrap()).unwrap()
    }

    #[test]
    fn the_object_is_the_documented_one() {
        let mut mounts = mountinfo::parse(
            b"36 35 0:40 / /a\\033\\377 ro,idmapped shared:3 master:4 - cifs //u:p@nas/x rw,vers=3.0,password=p\n",
            Namespace { inum: 4_026_532_201, id: 6 },
        )
        .unwrap();
        mounts[0].mount.id_unique = Some(5_000_000_001);
        mounts[0].mount.parent_id_unique = Some(5_000_000_000);
        let uid = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";
        let id = "3f8a0c5d7e9b1a2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f1a3b5c7d9e1f2a4b6c";
        let owner = owner_of(&format!("/kubepods/burstable/pod{uid}/crio-{id}"));
        let task = Task { pid: 812, tid: 815, comm: b"a\n".to_vec(), owner, named: None };
        let found: Value = serde_json::from_str(&listed_line(&mounts[0], Some(&task)).unwrap()).unwrap();
        let expected = json!({
            "version": 1, "mntns": 4_026_532_201_u32, "mntns_id": "6", "mount_id": 36, "mount_id_unique": "5000000001",
            "parent_id_unique": "5000000000", "path": "/a\\x1b\\xff", "path_reason": null, "root": "/",
            "source": "//***@nas/x", "fstype": "cifs", "dev": "0:40", "rdev": null,
            "attributes": ["MOUNT_ATTR_RDONLY", "MOUNT_ATTR_IDMAP"],
            "propagation": {"shared": 3, "master": 4, "unbindable": false, "kubernetes": "Bidirectional"},
            "parent_id": 35, "options": {"vfs": ["ro", "idmapped"], "fs": ["rw", "vers=3.0"], "hidden": 1},
            "disks": null, "no_disk": null,
            "process": {"pid": 812, "tid": 815, "comm": "a\\x0a"},
            "owner": {"pod_uid": uid, "namespace": null, "pod": null, "container": null, "container_id": id, "image": null,
                      "role": "container", "runtime": "cri-o", "qos_class": "Burstable"},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn disks_are_there_or_the_reason() {
        let mut mounts =
            mountinfo::parse(b"36 35 8:17 / / rw - ext4 /dev/sdb1 rw\n", Namespace { inum: 7, id: 0 }).unwrap();
        let disk = Disk { dev: Dev { major: 8, minor: 16 }, name: "sdb".to_owned(), diskseq: Some(9) };
        let dm = Disk { dev: Dev { major: 253, minor: 0 }, name: "dm-0".to_owned(), diskseq: None };
        let protected = Some(vec!["holds /".to_owned()]);
        let both = json!([{"dev": "8:16", "name": "sdb", "diskseq": "9", "protected": ["holds /"]},
                          {"dev": "253:0", "name": "dm-0", "diskseq": null, "protected": null}]);
        for (behind, disks, no_disk) in [
            (Ok(vec![Used { disk, protected }, Used { disk: dm, protected: None }]), both, Value::Null),
            (Err(NoDisk::Network), json!([]), json!("network")),
            (Err(NoDisk::Gone), Value::Null, json!("gone")),
        ] {
            mounts[0].behind = Some(behind);
            let found: Value = serde_json::from_str(&listed_line(&mounts[0], None).unwrap()).unwrap();
            assert_eq!((&found["disks"], &found["no_disk"]), (&disks, &no_disk));
        }
    }

    #[test]
    fn unknown_is_null() {
        let found = object("36 35 0:40 / / rw - tmpfs none rw\n", Namespace { inum: 7, id: 0 }, None);
        for key in ["mntns_id", "mount_id_unique", "parent_id_unique", "disks", "no_disk", "process", "owner"] {
            assert_eq!(found[key], Value::Null, "{key}");
        }
    }
}
