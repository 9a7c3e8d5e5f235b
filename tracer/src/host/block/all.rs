//! Every whole disk of the node, for who has to begin anew. Reads sysfs; writes nothing.

use super::{Block, BlockError, disk_at, list, read, read_optional};
use crate::host::Disk;

impl Block {
    /// Every whole disk, and the kernel's count of events from before they were looked at. Paths of NVMe that the kernel hides are
    /// none, as they have no number. What goes meanwhile is left out.
    pub fn all(&self) -> Result<(u64, Vec<Disk>), BlockError> {
        let path = self.sys.join("kernel/uevent_seqnum");
        let text = read(&path)?;
        let seqnum = text.parse().map_err(|_| BlockError::NotUnderstood { path, text })?;
        let mut disks = Vec::new();
        for dir in list(&self.sys.join("class/block"))? {
            let is_whole = read_optional(&dir.join("partition"))?.is_none();
            let hidden = read_optional(&dir.join("hidden"))?.is_some_and(|text| text == "1");
            if is_whole && !hidden {
                match disk_at(&dir) {
                    Ok(disk) => disks.push(disk),
                    Err(_) if !dir.exists() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((seqnum, disks))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Node, dev};
    use super::*;

    #[test]
    fn whole_disks_that_have_a_number() {
        let node = Node::new();
        node.write("sys/kernel/uevent_seqnum", "1234\n");
        node.device("pci0/block/sda", "8:0");
        node.write("sys/devices/pci0/block/sda/diskseq", "9\n");
        node.partition("pci0/block/sda/sda1", "8:1");
        node.device("virtual/block/loop0", "7:0");
        node.device("nvme0/nvme0c0n1", "0:0");
        node.write("sys/devices/nvme0/nvme0c0n1/hidden", "1\n");
        let loop0 = Disk { dev: dev("7:0"), name: "loop0".to_owned(), diskseq: None };
        let sda = Disk { dev: dev("8:0"), name: "sda".to_owned(), diskseq: Some(9) };
        assert_eq!(node.block().all().unwrap(), (1234, vec![loop0, sda]));
    }

    #[test]
    fn without_the_count_of_events_there_is_no_list() {
        let node = Node::new();
        assert!(node.block().all().is_err());
        node.write("sys/kernel/uevent_seqnum", "many\n");
        assert!(matches!(node.block().all(), Err(BlockError::NotUnderstood { .. })));
    }
}
