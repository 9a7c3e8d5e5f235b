//! PURE: what the node was asked about a volume, for a policy to match. Touches nothing; every other room may use it.

/// The node's answer. What it does not know is absent, and matches no glob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every name of the volume's whole disk, and of its partition if it lies on one: `8:16`, `/dev/sdb`, the links to it
    /// below `/dev/disk` and `/dev/mapper`, and the bare names of those in `/dev/disk/by-id`.
    pub devices: Vec<String>,
    /// The CSI driver, `ebs.csi.aws.com`, or the kubelet's plugin, `kubernetes.io/local-volume`.
    pub driver: Option<String>,
}
