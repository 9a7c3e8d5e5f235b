//! PURE: what to do about a holder, in words.

use super::{Blocks, Holder, How, User, Who, Why};
use crate::{
    listed::{MountTable, Task},
    output::{escape::escape, words},
};

/// What ends it; nothing for what goes along.
pub fn remedy(holder: &Holder<'_>) -> Option<String> {
    if holder.blocks == Blocks::Nothing {
        return None;
    }
    Some(match holder.who {
        Who::Process(process) => of_process(&process.task, holder),
        Who::Kernel(User::Loop { name, .. }) => format!("losetup -d /dev/{name}"),
        Who::Kernel(User::Swap { path, .. }) => format!("swapoff {}", escape(path)),
        Who::Kernel(User::Stacked { name, .. }) => format!("take /dev/{name} apart first"),
        Who::Mount(table, listed) => {
            let path = listed.mount.path.as_ref().map_or_else(|_| "it".to_owned(), |path| escape(path));
            of_mount(table, &path, holder.why)
        }
    })
}

fn of_process(task: &Task, holder: &Holder<'_>) -> String {
    if let Some(container) = container(task) {
        return format!("stop {container}");
    }
    let leaves = holder.does.keys().all(|how| *how == How::WorkingDirectory);
    let or_leave = if leaves { ", or let it change its directory" } else { "" };
    format!("end process {}{or_leave}", task.pid)
}

fn of_mount(table: &MountTable, path: &str, why: Why) -> String {
    let Some(task) = &table.task else {
        let inum = table.namespace.inum;
        return format!("let go of mount namespace {inum}: a descriptor or a bind of it keeps it");
    };
    let unmount = format!("nsenter -t {} -m umount {path}", task.pid);
    match container(task) {
        Some(container) if why != Why::Below => format!("stop {container}, or {unmount}"),
        _ => unmount,
    }
}

/// The container of a thread, and of which pod.
fn container(task: &Task) -> Option<String> {
    let (owner, named) = (&task.owner, task.named.as_ref());
    let whose = Some((owner, named));
    owner.container.as_ref()?;
    let namespace = named.map(|_| words::pod_namespace(whose) + "/").unwrap_or_default();
    let pod = owner.pod.as_ref().map(|_| format!(" of pod {namespace}{}", words::pod(whose)));
    Some(format!("container {}{}", words::container(whose), pod.unwrap_or_default()))
}
