//! A tar archive in memory (POSIX's "ustar"), as container images are made of: everything is root's, of the year 1970, so that the
//! same content gives the same bytes.

/// Headers and contents fill whole blocks.
const BLOCK: usize = 512;
const DIRECTORY: u8 = b'5';
const FILE: u8 = b'0';
const LINK: u8 = b'2';

#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn directory(&mut self, name: &str, mode: u32) {
        self.header(name, mode, 0, DIRECTORY, "");
    }

    pub(crate) fn file(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.header(name, mode, data.len(), FILE, "");
        self.0.extend_from_slice(data);
        self.pad();
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.header(name, 0o777, 0, LINK, target);
    }

    /// The bytes, with the two empty blocks that end an archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    /// Names here are ours and short: longer ones would be cut.
    fn header(&mut self, name: &str, mode: u32, size: usize, kind: u8, target: &str) {
        let mut block = [0; BLOCK];
        put(&mut block, 0, 100, name);
        put(&mut block, 100, 8, &format!("{mode:07o}"));
        put(&mut block, 108, 8, "0000000");
        put(&mut block, 116, 8, "0000000");
        put(&mut block, 124, 12, &format!("{size:011o}"));
        put(&mut block, 136, 12, "00000000000");
        // The checksum is taken with blanks in its own place.
        put(&mut block, 148, 8, "        ");
        block[156] = kind;
        put(&mut block, 157, 100, target);
        put(&mut block, 257, 8, "ustar\x0000");
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        put(&mut block, 148, 8, &format!("{sum:06o}\0 "));
        self.0.extend_from_slice(&block);
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, room: usize, text: &str) {
    for (to, from) in block[at..at + room].iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_of_whole_blocks_and_sums_up() {
        let mut tar = Tar::default();
        tar.directory("bin/", 0o755);
        tar.file("bin/a", 0o755, b"xyz");
        tar.link("bin/b", "a");
        let bytes = tar.finish();
        assert_eq!(bytes.len(), 6 * BLOCK);
        assert_eq!(&bytes[BLOCK..BLOCK + 6], b"bin/a\0");
        assert_eq!(&bytes[BLOCK + 124..BLOCK + 135], b"00000000003");
        assert_eq!(&bytes[2 * BLOCK..2 * BLOCK + 4], b"xyz\0");
        let mut header = bytes[..BLOCK].to_vec();
        let written = String::from_utf8_lossy(&header[148..154]).into_owned();
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        assert_eq!(u32::from_str_radix(&written, 8), Ok(sum));
    }
}
