//! PURE: what to do about a holder, in words.

use super::{Blocks, Holder, How, User, Who, Why};
use crate::{
    listed::{MountTable, Task},
    output::words,
};

/// What ends it; nothing for what goes along.
pub fn remedy(holder: &Holder<'_>) -> Option<String> {
    if holder.blocks == Blocks::Nothing {
        return None;
    }
    Some(match holder.who {
        Who::Process(process) => of_process(&process.task, holder),
        Who::Kernel(User::Loop { name, .. }) => format!("losetup -d /dev/{name}"),
        Who::Kernel(User::Swap { path, .. }) => format!("swapoff {}", quoted(path)),
        Who::Kernel(User::Stacked { name, .. }) => format!("take /dev/{name} apart first"),
        Who::Mount(table, listed) => {
            let path = listed.mount.path.as_deref().map_or_else(|_| "PATH".to_owned(), quoted);
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
    match container(task) {
        Some(container) if why != Why::Below => format!("stop {container}"),
        // The node's own program (util-linux 2.34): one that lies in that namespace may be anything.
        _ => format!("umount -N {} {path}", task.pid),
    }
}

/// A word for a shell: whoever mounts chooses the path. What cannot be typed is not offered.
fn quoted(path: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:=@%+,".contains(byte);
    match str::from_utf8(path) {
        Ok(text) if path.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => "PATH".to_owned(),
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
