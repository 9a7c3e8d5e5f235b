//! The container runtime of the node, by its own socket: what it calls its containers and their pods.

#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "the code is generated"
)]
#[rustfmt::skip]
pub mod api;
pub mod codec;
pub mod info;
pub mod names;
