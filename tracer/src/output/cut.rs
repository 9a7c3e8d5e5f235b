//! Texts cut to the cells of a terminal: a wide character takes two, a combining one none.

use unicode_width::UnicodeWidthChar as _;

/// Cells that a text takes.
pub fn cells(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// At most so many cells from its beginning.
pub fn right(text: &str, room: usize) -> String {
    if cells(text) <= room {
        return text.to_owned();
    }
    fitting(text.chars(), room).chain(['…']).collect()
}

/// At most so many cells from its end: where a path's end tells it apart.
pub fn left(text: &str, room: usize) -> String {
    if cells(text) <= room {
        return text.to_owned();
    }
    let end: Vec<char> = fitting(text.chars().rev(), room).collect();
    ['…'].into_iter().chain(end.into_iter().rev()).collect()
}

/// The characters that leave one cell of the room for the mark of the cut.
fn fitting(chars: impl Iterator<Item = char>, room: usize) -> impl Iterator<Item = char> {
    let mut taken = 1;
    chars.take_while(move |c| {
        taken += width(*c);
        taken <= room
    })
}

fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_or_the_beginning_stays() {
        assert_eq!(left("/var/lib/kubelet", 8), "…kubelet");
        assert_eq!(right("kube-controller", 8), "kube-co…");
        assert_eq!(left("/mnt", 4), "/mnt");
        assert_eq!(left("/卷/卷卷", 5), "…卷卷", "two cells each");
        assert_eq!(left("/卷/卷卷", 4), "…卷", "half a character does not fit");
    }

    proptest! {
        #[test]
        fn never_wider_than_the_room(text in "[a-z/卷\u{301}]{0,40}", room in 1_usize..30) {
            prop_assert!(cells(&left(&text, room)) <= room);
            prop_assert!(cells(&right(&text, room)) <= room);
        }
    }
}
