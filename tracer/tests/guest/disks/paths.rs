//! An NVMe disk with a path that the kernel hides behind a head: the kernel's own target over its own loop transport, told by
//! configfs and `/dev/nvme-fabrics` as nvmetcli and nvme-cli do it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::MountFlags;

use super::super::ground::{self, Mounted};
use super::devices::{appeared, open};

const CONFIG: &str = "/sys/kernel/config";
const NQN: &str = "nqn.2026-11.io.mount-tracer:disks";

/// The disk, and what serves it.
pub(super) struct Head {
    /// `/dev/nvmeXn1`.
    pub(super) device: PathBuf,
    controller: PathBuf,
    _config: Mounted,
}

impl Head {
    /// Over this device.
    pub(super) fn over(below: &Path) -> Result<Self> {
        rustix::mount::mount("configfs", CONFIG, "configfs", MountFlags::empty(), None).context("mount of configfs")?;
        let config = Mounted::adopt(Path::new(CONFIG));
        let target = Path::new(CONFIG).join("nvmet");
        let subsystem = target.join("subsystems").join(NQN);
        let namespace = subsystem.join("namespaces/1");
        fs::create_dir(&subsystem).context("no subsystem can be made")?;
        ground::write_file(&subsystem.join("attr_allow_any_host"), "1")?;
        fs::create_dir(&namespace)?;
        ground::write_file(&namespace.join("device_path"), below.as_os_str().as_encoded_bytes())?;
        ground::write_file(&namespace.join("enable"), "1")?;
        let port = target.join("ports/1");
        fs::create_dir(&port)?;
        ground::write_file(&port.join("addr_trtype"), "loop")?;
        symlink(&subsystem, port.join("subsystems").join(NQN)).context("the port does not take the subsystem")?;
        let (controller, device) = connect()?;
        Ok(Self { device, controller, _config: config })
    }
}

/// The controller's directory in sysfs, and the head's node.
fn connect() -> Result<(PathBuf, PathBuf)> {
    use std::io::{Read as _, Write as _};
    let mut fabrics = open(Path::new("/dev/nvme-fabrics"))?;
    fabrics.write_all(format!("transport=loop,nqn={NQN}").as_bytes()).context("the host does not connect")?;
    let mut said = [0; 128];
    let length = fabrics.read(&mut said)?;
    // `instance=2,cntlid=1`
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    let instance = said.trim_end().split(',').find_map(|word| word.strip_prefix("instance="));
    let instance = instance.with_context(|| format!("no instance in {said:?}"))?;
    let controller = PathBuf::from(format!("/sys/class/nvme/nvme{instance}"));
    let subsystem = fs::read_dir("/sys/class/nvme-subsystem").context("the kernel has no NVMe multipath")?;
    let mut named = subsystem
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| fs::read_to_string(path.join("subsysnqn")).is_ok_and(|nqn| nqn.trim_end() == NQN));
    let subsystem = named.next().context("no subsystem of that name")?;
    // The head has the subsystem's number.
    let name = subsystem.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("nvme-subsys"));
    let device = PathBuf::from(format!("/dev/nvme{}n1", name.context("a subsystem without a number")?));
    appeared(&device)?;
    expect_hidden_path(&device)?;
    Ok((controller, device))
}

/// It is a head and no disk of one path alone: the path is there, and hidden.
fn expect_hidden_path(head: &Path) -> Result<()> {
    let head = head.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix("n1"));
    let path = format!("{}c", head.context("a head's name")?);
    let names = fs::read_dir("/sys/block")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let hidden =
        |name: &String| fs::read_to_string(format!("/sys/block/{name}/hidden")).is_ok_and(|text| text == "1\n");
    let found = names.filter(|name| name.starts_with(&path)).any(|name| hidden(&name));
    ensure!(found, "the kernel hides no disk {path}*");
    Ok(())
}

impl Drop for Head {
    fn drop(&mut self) {
        let target = Path::new(CONFIG).join("nvmet");
        let subsystem = target.join("subsystems").join(NQN);
        let _ = fs::write(self.controller.join("delete_controller"), "1");
        let _ = fs::remove_file(target.join("ports/1/subsystems").join(NQN));
        for directory in [target.join("ports/1"), subsystem.join("namespaces/1"), subsystem] {
            let _ = fs::remove_dir(directory);
        }
    }
}
