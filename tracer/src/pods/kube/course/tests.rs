//! What comes after what, and how soon.

use proptest::prelude::*;

use super::*;
use crate::pods::objects::ClaimKey;

fn claim() -> What {
    What::Claim(ClaimKey { namespace: "shop".into(), name: "data".into() })
}

fn pods() -> What {
    What::Pods { node: "worker-7".into() }
}

fn version(ask: &Ask) -> Option<&str> {
    if let Ask::Watch { version, .. } = ask { Some(version) } else { None }
}

fn listed(version: &str) -> End {
    End::Listed(version.into())
}

#[test]
fn a_list_is_followed_by_a_watch_from_its_version_on() {
    let mut course = Course::new(pods(), How::List, Pace::default());
    assert_eq!(course.next(0), Ask::List(pods()));
    assert_eq!(course.ended(&listed("5"), 0), Some(Duration::ZERO));
    assert_eq!(version(&course.next(0)), Some("5"));
    course.told("9".into());
    assert_eq!(course.ended(&End::Failed, 0), Some(Pace::default().again.mul_f64(2.0 / 3.0)));
    assert_eq!(version(&course.next(0)), Some("9"), "nothing is listed again for a broken connection");
    course.ended(&End::Expired, 0);
    assert_eq!(course.next(0), Ask::List(pods()));
}

#[test]
fn a_name_is_watched_from_what_there_is() {
    let mut course = Course::new(claim(), How::Watch, Pace::default());
    assert_eq!(version(&course.next(0)), Some("0"));
    course.told("9".into());
    course.ended(&End::Over(Duration::from_mins(5)), 0);
    assert_eq!(version(&course.next(0)), Some("9"));
    course.ended(&End::Expired, 0);
    assert_eq!(course.next(0), Ask::List(claim()), "what is gone by now no watch would tell");
    course.ended(&listed("20"), 0);
    assert_eq!(version(&course.next(0)), Some("20"));
}

#[test]
fn a_look_is_repeated_and_a_fetch_is_not() {
    let mut course = Course::new(claim(), How::Look, Pace::default());
    assert_eq!(course.next(0), Ask::Get(claim()));
    assert!(course.ended(&End::Looked, 0) >= Some(Duration::from_secs(400)));
    assert!(course.ended(&End::Refused(404, None), 0) >= Some(Duration::from_secs(400)));
    let mut course = Course::new(claim(), How::Once, Pace::default());
    assert!(course.ended(&End::Refused(404, None), 0) <= Some(Duration::from_secs(2)), "it comes with its claim");
    assert_eq!(course.ended(&End::Looked, 0), None);
}

#[test]
fn what_is_forbidden_or_not_there_is_asked_for_seldom() {
    for status in [403, 404] {
        let mut course = Course::new(pods(), How::List, Pace::default());
        assert!(course.ended(&End::Refused(status, None), 0) >= Some(Duration::from_secs(400)), "{status}");
    }
}

#[test]
fn a_server_that_says_how_long_to_stay_away_is_believed_up_to_a_limit() {
    let mut course = Course::new(pods(), How::List, Pace::default());
    let mut wait = |seconds| course.ended(&End::Refused(429, Some(Duration::from_secs(seconds))), 0).unwrap();
    assert_eq!(wait(100), Duration::from_secs(100));
    assert_eq!(wait(u64::MAX), RETRY_AFTER);
    assert!(wait(0) > Duration::ZERO);
}

#[test]
fn a_watch_that_is_ended_at_once_is_not_begun_without_a_pause() {
    let mut course = Course::new(pods(), How::List, Pace::default());
    let waits: Vec<Duration> = (0..8).map(|_| course.ended(&End::Over(Duration::from_millis(3)), 0).unwrap()).collect();
    assert!(waits.is_sorted() && waits[7] >= Duration::from_secs(40), "{waits:?}");
    course.ended(&End::Over(Duration::from_mins(1)), 0);
    assert!(course.ended(&End::Failed, 0) < Some(Duration::from_secs(1)));
}

proptest! {
    #[test]
    fn no_failure_is_answered_at_once(
        ends in prop::collection::vec((0..5_usize, any::<u64>()), 1..40), how in 0..3_usize
    ) {
        let how = [How::List, How::Watch, How::Look][how];
        let mut course = Course::new(claim(), how, Pace::default());
        for (end, random) in ends {
            let end = [
                End::Failed,
                End::Expired,
                End::Over(Duration::ZERO),
                End::Refused(500, None),
                End::Refused(429, Some(Duration::from_secs(3))),
            ][end].clone();
            let wait = course.ended(&end, random).unwrap();
            prop_assert!(wait >= Duration::from_millis(600) && wait <= Duration::from_secs(81), "{:?}", wait);
        }
    }

    #[test]
    fn times_are_spread_around(random: u64) {
        let wait = spread(Duration::from_mins(10), random);
        prop_assert!(wait >= Duration::from_secs(400) && wait <= Duration::from_secs(800));
    }
}
