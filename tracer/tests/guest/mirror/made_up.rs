//! The tools of the differential test by themselves, with made-up data: a comparison that sees each kind of difference, a
//! workload that survives as text, and a reduction that finds what is to blame.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::super::trial::trial;
use super::compare::Comparison;
use super::kernel_tables::{KernelMount, KernelTable};
use super::reduce::Reduction;
use super::socket::HeldTable;
use super::workload::{Step, Workload};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("mirror::each_kind_of_difference_is_seen", each_kind_of_difference_is_seen),
        trial(
            "mirror::hidden_mounts_may_be_missing_in_mountinfo_alone",
            hidden_mounts_may_be_missing_in_mountinfo_alone,
        ),
        trial("mirror::workloads_are_text", workloads_are_text),
        trial("mirror::what_is_to_blame_is_found", what_is_to_blame_is_found),
    ]
}

const NAMESPACE: u64 = 4_026_531_841;

/// A hidden first mount, the root on it, and a tmpfs at `/x/y`.
fn kernel(whole: bool) -> KernelTable {
    let mount = |id: u64, parent: u64, dev: &str, point: Option<(&str, &[u8])>| KernelMount {
        unique: whole.then_some(id + 100),
        parent,
        dev: dev.to_owned(),
        attributes: BTreeSet::from(["relatime".to_owned()]),
        unbindable: false,
        group: Some(id),
        master: None,
        root: Some((dev.to_owned(), Vec::new())),
        point: point.map(|(dev, path)| (dev.to_owned(), path.to_vec())),
    };
    let mut mounts = BTreeMap::from([
        (2, mount(2, 1, "0:2", None)),
        (3, mount(3, 2, "0:3", Some(("0:2", b"/x/y".as_slice())))),
        (4, mount(4, 2, "0:3", Some(("0:2", b"/x/z".as_slice())))),
    ]);
    if whole {
        mounts.insert(1, mount(1, 1, "0:1", None));
    }
    KernelTable { mntns: NAMESPACE, root: 2, whole, mounts }
}

/// The same as the agent's answer has it.
fn held() -> Value {
    let mount = |id: u64, parent: u64, sb: u64, point: &str| {
        json!({
            "mount_id": id, "mount_id_unique": (id + 100).to_string(), "parent_id": parent, "dev": format!("0:{sb}"),
            "mountpoint": point, "root": format!("r{sb}"), "superblock": format!("s{sb}"),
            "attributes": ["MOUNT_ATTR_RELATIME"], "unbindable": false, "group": id, "master": null,
        })
    };
    let mounts = [mount(1, 1, 1, "r1"), mount(2, 1, 2, "r1"), mount(3, 2, 3, "p3"), mount(4, 2, 3, "p4")];
    json!({"version": 1, "mntns": NAMESPACE, "mntns_id": "1", "state": "exact", "mounts": mounts})
}

fn differences(held: &Value, kernel: &KernelTable) -> Result<Vec<String>> {
    let mut comparison = Comparison::default();
    comparison.add(&serde_json::from_value::<HeldTable>(held.clone())?, kernel);
    Ok(comparison.differences)
}

fn each_kind_of_difference_is_seen() -> Result<()> {
    let same = differences(&held(), &kernel(true))?;
    ensure!(same.is_empty(), "equal tables differ: {same:#?}");
    let changes = [
        ("/state", json!("dirty"), "state"),
        ("/mounts/2/mount_id", json!(9), "only the kernel"),
        ("/mounts/2/mount_id_unique", json!("9"), "mount_id_unique"),
        ("/mounts/2/parent_id", json!(1), "parent_id"),
        ("/mounts/1/parent_id", json!(77), "parent_id"),
        ("/mounts/2/dev", json!("0:9"), "dev"),
        ("/mounts/2/attributes", json!(["MOUNT_ATTR_RDONLY", "MOUNT_ATTR_RELATIME"]), "attributes"),
        ("/mounts/2/attributes", json!([]), "attributes"),
        ("/mounts/2/unbindable", json!(true), "unbindable"),
        ("/mounts/2/group", json!(null), "group"),
        ("/mounts/2/master", json!(5), "master"),
        // Two names for one object, and one name for two objects.
        ("/mounts/3/superblock", json!("s9"), "superblock"),
        ("/mounts/3/superblock", json!("s2"), "superblock"),
        ("/mounts/3/root", json!("r9"), "root"),
        ("/mounts/3/mountpoint", json!("p3"), "mountpoint"),
    ];
    for (field, value, name) in changes {
        let mut answer = held();
        *answer.pointer_mut(field).with_context(|| format!("no field {field}"))? = value.clone();
        let found = differences(&answer, &kernel(true))?;
        ensure!(found.iter().any(|line| line.contains(name)), "{field}={value} went unseen: {found:?}");
    }
    Ok(())
}

/// mountinfo shows the mount that is the reader's root and what is below it, all of it, and nothing else.
fn hidden_mounts_may_be_missing_in_mountinfo_alone() -> Result<()> {
    let found = differences(&held(), &kernel(false))?;
    ensure!(found.is_empty(), "what mountinfo hides is a difference: {found:?}");
    for shown in [3, 4] {
        let mut kernel = kernel(false);
        kernel.mounts.remove(&shown);
        let found = differences(&held(), &kernel)?;
        ensure!(found.len() == 1 && found[0].contains("only the mirror"), "{found:?}");
    }
    let mut kernel = kernel(true);
    kernel.mounts.remove(&1);
    ensure!(!differences(&held(), &kernel)?.is_empty(), "statmount hides nothing");
    Ok(())
}

fn workloads_are_text() -> Result<()> {
    let workload = Workload::random(42, 5, 500);
    ensure!(workload == Workload::random(42, 5, 500), "a seed gives one workload");
    ensure!(workload != Workload::random(43, 5, 500), "another seed gives another");
    for step in workload.setup.iter().chain(&workload.steps) {
        ensure!(step.to_string().parse::<Step>()? == *step, "`{step}` is read as another step");
    }
    let lines: Vec<String> = workload.setup.iter().chain(&workload.steps).map(|step| format!("    {step}")).collect();
    let read: Workload = lines.join("\n").parse()?;
    ensure!(
        read.workers == 5 && read.steps == [workload.setup, workload.steps].concat(),
        "a sequence is read otherwise"
    );
    ensure!("3".parse::<Step>().is_err() && "x bind a b".parse::<Step>().is_err(), "no steps are taken for some");
    Ok(())
}

fn what_is_to_blame_is_found() -> Result<()> {
    let whole: Vec<u32> = (0..100).collect();
    let mut runs = 0;
    let mut reduction = Reduction::new(whole.clone(), 60, |steps: &[u32]| {
        runs += 1;
        Ok(steps.contains(&17) && steps.contains(&80))
    });
    ensure!(reduction.keep(|step| step % 10 != 3)?, "what can be spared was not left out");
    ensure!(!reduction.keep(|step| *step != 80)?, "what is to blame was left out");
    reduction.halve()?;
    let found = reduction.into_shortest();
    ensure!(found == [17, 80], "{found:?} after {runs} runs");
    runs = 0;
    let mut reduction = Reduction::new(whole, 5, |_: &[u32]| {
        runs += 1;
        Ok(false)
    });
    reduction.halve()?;
    ensure!(reduction.into_shortest().len() == 100 && runs == 5, "five runs were allowed, {runs} made");
    Ok(())
}
