//! PURE: messages of the interface as bytes, and how large an answer may be. Touches nothing.
//!
//! A limit on the bytes alone is none on the memory: an empty entry of a list is two bytes on the wire and some hundreds in memory. So the
//! entries are counted before anything is decoded.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::{DecodeError, Message, decode_length_delimiter};
use thiserror::Error;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Bytes of an answer: as the kubelet takes it (pkg/kubelet/cri/remote: `maxMsgSize`).
pub const MESSAGE: usize = 16 << 20;
/// Entries of an answer. The kubelet starts 110 pods on a node unless told otherwise, and keeps few dead containers of each.
pub const ENTRIES: usize = 32 << 10;

/// Why an answer was not taken.
#[derive(Debug, Error)]
pub enum CodecError {
    /// It has more than [`ENTRIES`].
    #[error("more than {ENTRIES} entries")]
    Entries,
    /// It is no such message.
    #[error("no such message")]
    Message(#[source] DecodeError),
}

/// Takes a message that is not too large, and gives any.
pub struct Limited<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Limited<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Limited<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T: Message, U> Encoder for Limited<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(to).map_err(|error| Status::from_error(Box::new(error)))
    }
}

impl<T, U: Message + Default> Decoder for Limited<T, U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message = decode(from.copy_to_bytes(from.remaining()));
        message.map(Some).map_err(|error| Status::from_error(Box::new(error)))
    }
}

fn decode<U: Message + Default>(bytes: Bytes) -> Result<U, CodecError> {
    if entries(&bytes) > ENTRIES {
        return Err(CodecError::Entries);
    }
    U::decode(bytes).map_err(CodecError::Message)
}

/// The fields of a message, each time that they are repeated, up to what cannot be read: decoding finds that too.
fn entries(mut message: &[u8]) -> usize {
    std::iter::from_fn(|| skip_field(&mut message)).count()
}

/// One field, by how it is written (protobuf's encoding, «message structure»); `None` at the end, or where it is none.
fn skip_field(message: &mut &[u8]) -> Option<()> {
    let key = decode_length_delimiter(&mut *message).ok()?;
    let length = match key & 7 {
        0 => decode_length_delimiter(&mut *message).map(|_| 0).ok()?,
        1 => 8,
        2 => decode_length_delimiter(&mut *message).ok()?,
        5 => 4,
        _ => return None,
    };
    *message = message.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pods::cri::api::{Container, ListContainersResponse, VersionResponse};

    fn list(containers: usize) -> Bytes {
        ListContainersResponse { containers: vec![Container::default(); containers] }.encode_to_vec().into()
    }

    #[test]
    fn entries_are_counted_before_they_take_memory() {
        let taken: ListContainersResponse = decode(list(ENTRIES)).unwrap();
        assert_eq!(taken.containers.len(), ENTRIES);
        let refused = decode::<ListContainersResponse>(list(ENTRIES + 1));
        assert!(matches!(refused, Err(CodecError::Entries)), "{} bytes", list(ENTRIES + 1).len());
    }

    #[test]
    fn fields_of_every_form_are_counted() {
        // A varint, eight bytes, a length with its bytes, four bytes; then a group, which nobody writes any more.
        let message = [0x08, 0x96, 0x01, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 0, 0, 0, 0, 0x2b];
        assert_eq!(entries(&message), 4);
        assert_eq!(entries(&message[..message.len() - 2]), 3, "the last is not whole");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<ListContainersResponse>(bytes.clone().into());
            let _ = decode::<VersionResponse>(bytes.into());
        }
    }
}
