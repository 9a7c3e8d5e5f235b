//! Recordings made by hand, and broken by hand.

use proptest::prelude::*;

use super::*;
use crate::operation::Syscall;

fn known() -> Known {
    Known { own_pid: 42, kubelet_dir: "/var/lib/kubelet".to_owned() }
}

fn origin() -> Origin {
    Origin {
        node: "worker-7".to_owned(),
        boot_id: Some("b".to_owned()),
        agent_start: "2026-11-21T22:00:00Z".to_owned(),
        clock: Clock::new(1_700_000_000_000_000_000, 5),
    }
}

fn gap() -> Gap {
    let dropped = Dropped { hook: HOOKS[3].name(), reason: REASONS[0], records: 7 };
    let namespaces = Some(vec![Namespace { inum: 4, id: u64::MAX }]);
    Gap { dropped: vec![dropped], missed: 2, namespaces, doubt: None }
}

fn throttled() -> Throttled {
    Throttled { cgroup_id: u64::MAX, end_ns: 7, syscall: Syscall::MoveMount, errno: 22, calls: 9 }
}

const TOTALS: Totals = Totals { dropped: 1, records_lost: 2, missed: None };

fn recorded() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut recorder = Recorder::new(&mut bytes, &origin(), known()).unwrap();
    recorder.input(&Input::Record(b"some bytes"), 10).unwrap();
    recorder.input(&Input::Loss(gap()), 11).unwrap();
    recorder.input(&Input::Throttled(vec![throttled()]), 12).unwrap();
    recorder.input(&Input::Deadline(9), 12).unwrap();
    recorder.input(&Input::TableRead { inum: 4_026_531_841, began_ns: 9 }, 12).unwrap();
    recorder.input(&Input::Answered(vec![Some(b"/a".to_vec()), None]), 12).unwrap();
    recorder.end(TOTALS, 13).unwrap();
    bytes
}

/// What can be read, and what ended it.
fn read(bytes: &[u8]) -> (Vec<(u64, Frame)>, Option<RecordingError>) {
    let mut frames = Vec::new();
    let mut recording = match Recording::open(bytes) {
        Ok(recording) => recording,
        Err(error) => return (frames, Some(error)),
    };
    loop {
        match recording.frame() {
            Ok(end @ (_, Frame::End(_))) => {
                frames.push(end);
                return (frames, None);
            }
            Ok(frame) => frames.push(frame),
            Err(error) => return (frames, Some(error)),
        }
    }
}

#[test]
fn what_went_in_comes_out() {
    let bytes = recorded();
    let recording = Recording::open(&bytes[..]).unwrap();
    assert_eq!((recording.known, recording.origin.node.as_str()), (known(), "worker-7"));
    assert_eq!(recording.origin.clock.wall(5), origin().clock.wall(5));
    let (frames, error) = read(&bytes);
    assert!(error.is_none(), "{error:?}");
    let expected = [
        (10, Frame::Record(b"some bytes".to_vec())),
        (11, Frame::Loss(gap())),
        (12, Frame::Throttled(vec![throttled()])),
        (12, Frame::Deadline(9)),
        (12, Frame::TableRead(4_026_531_841, 9)),
        (12, Frame::Answered(vec![Some(b"/a".to_vec()), None])),
        (13, Frame::End(TOTALS)),
    ];
    assert_eq!(frames, expected);
}

#[test]
fn wherever_it_is_cut_the_frame_is_named_and_what_came_before_is_read() {
    let bytes = recorded();
    let whole = read(&bytes).0;
    let mut before = 0;
    for end in 0..bytes.len() {
        let (frames, error) = read(&bytes[..end]);
        assert!(matches!(error, Some(RecordingError::Cut { offset }) if offset <= end as u64), "{end}: {error:?}");
        assert!(frames.len() >= before && whole.starts_with(&frames), "at {end}");
        before = frames.len();
    }
    assert_eq!(before, whole.len() - 1);
}

#[test]
fn what_is_none_is_named() {
    let said = |bytes: &[u8]| read(bytes).1.unwrap().to_string();
    assert_eq!(said(b"\x7fELF\n\n"), "byte 0: this is no recording: it does not begin with `mount-tracer recording`");
    assert!(said(&vec![b'x'; 1 << 20]).starts_with("byte 0: this is no recording"));
    let [this, next] = [VERSION, VERSION + 1].map(|version| format!("recording {version}"));
    let newer = String::from_utf8_lossy(&recorded()).replacen(&this, &next, 1).into_bytes();
    let words =
        format!("byte 23: the recording has version {}, and this mount-tracer reads version {VERSION};", VERSION + 1);
    assert!(said(&newer).starts_with(&words));
    let nowhere = format!("mount-tracer {this}\n{{}}\n");
    assert!(said(nowhere.as_bytes()).starts_with("byte 25: the recording does not say where"));
    let head = recorded().len() - recorded_frames();
    let mut kind = recorded();
    kind[head] = b'X';
    assert_eq!(said(&kind), format!("byte {head}: the recording is broken: a frame has the unknown kind 0x58"));
    let mut long = recorded();
    long[head + 12] = 0x7f;
    assert!(
        said(&long).starts_with(&format!("byte {head}: the recording is broken: a frame has 21")),
        "{}",
        said(&long)
    );
    let mut unknown = recorded();
    let at = unknown.windows(9).position(|window| window == b"ring_full").unwrap();
    unknown[at] = b'x';
    let second = head + FRAME_HEAD + 10;
    assert_eq!(
        said(&unknown),
        format!("byte {second}: the recording is broken: the content of a frame cannot be read")
    );
}

/// Bytes of all frames of [`recorded`].
fn recorded_frames() -> usize {
    let mut bytes = Vec::new();
    Recorder::new(&mut bytes, &origin(), known()).unwrap();
    recorded().len() - bytes.len()
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_named(bytes: Vec<u8>) {
        prop_assert!(read(&bytes).1.is_some());
    }

    #[test]
    fn a_broken_byte_is_read_or_named(at in 0usize..400, byte: u8) {
        let mut bytes = recorded();
        let at = at % bytes.len();
        bytes[at] = byte;
        read(&bytes);
    }
}
