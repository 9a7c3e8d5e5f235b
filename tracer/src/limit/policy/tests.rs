//! What a policy means, and the whole message of each refusal.

use proptest::prelude::*;

use super::*;

const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

fn parse(text: &str) -> Policy {
    Policy::parse(text.as_bytes(), "p.yaml").unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(bytes: &[u8]) -> String {
    Policy::parse(bytes, "p.yaml").unwrap_err().to_string()
}

/// A rule with these `limits` and everything else in order; the limits start in line 2.
fn with_limits(limits: &str) -> String {
    format!("rules:\n- {{name: a, match: {{volume: x}}, limits: {{{limits}}}}}\n")
}

/// A rule with this `match`, which starts in column 20 of line 2.
fn with_match(matches: &str) -> String {
    format!("rules:\n- {{name: a, match: {matches}, limits: {{writeBps: 20M}}}}\n")
}

#[test]
fn a_whole_policy() {
    let policy = parse(
        "# comment\nmode: enforce\ntakeOver: true\nexempt: []\nallowDisks: []\nfloor: { readBps: 2Mi, readIops: 2 }\nrules:\n  \
         - name: bronze\n    match:\n      volume: [pvc-*, data]\n      podUid: '*'\n    limits: { readBps: 50Mi, writeBps: \"20M\", \
         readIops: 5e3, writeIops: max }\n  - name: \"7\"\n    match: { podUid: 0f7c* }\n    limits:\n      writeIops: 4294967294\n",
    );
    assert_eq!(policy.mode, Mode::Enforce);
    assert!(policy.take_over);
    let floor = Limits { read_bps: Some(2 << 20), read_iops: Some(2), ..Policy::DEFAULT_FLOOR };
    assert_eq!(policy.floor, floor);
    let bronze =
        Limits { read_bps: Some(52_428_800), write_bps: Some(20_000_000), read_iops: Some(5000), write_iops: None };
    assert_eq!(policy.rules.len(), 2);
    assert_eq!(policy.rules[0].name, "bronze");
    assert_eq!(policy.rules[0].limits, bronze);
    assert_eq!(policy.rules[0].matches.volume, [Glob::new("pvc-*"), Glob::new("data")]);
    assert_eq!(policy.rules[1].name, "7");
    assert_eq!(policy.rules[1].limits, Limits { write_iops: Some(4_294_967_294), ..Limits::NONE });
}

#[test]
fn what_is_left_out_has_a_default() {
    let policy = parse("rules: []");
    assert_eq!(
        policy,
        Policy { mode: Mode::Observe, floor: Policy::DEFAULT_FLOOR, take_over: false, rules: Vec::new() }
    );
}

#[test]
fn keys_and_lists_or_and_the_first_rule_counts() {
    let policy = parse(
        "rules:\n- {name: both, match: {volume: [a*, b], podUid: 0f7c*}, limits: {writeBps: 2M}}\n\
         - {name: rest, match: {volume: '*'}, limits: {writeBps: 3M}}\n",
    );
    let name = |uid: &str, volume: &str| {
        let pod_uid = PodUid::parse(uid).unwrap();
        rule_for(&policy, &VolumeRef { volume, ..unknown(&pod_uid) })
    };
    let other = UID.replace("0f7c", "1f7c");
    assert_eq!(name(UID, "a1"), "both");
    assert_eq!(name(UID, "b"), "both");
    assert_eq!(name(UID, "b1"), "rest");
    assert_eq!(name(&other, "a1"), "rest");
    let nothing = parse(&with_limits("writeBps: 2M"));
    let pod_uid = PodUid::parse(UID).unwrap();
    assert_eq!(nothing.choose(&VolumeRef { volume: "y", ..unknown(&pod_uid) }), Choice::Nothing);
}

/// A volume of which nothing but the pod is known.
fn unknown(pod_uid: &PodUid) -> VolumeRef<'_> {
    VolumeRef { pod_uid, volume: "", fstype: None, path: None, facts: None }
}

fn rule_for(policy: &Policy, volume: &VolumeRef<'_>) -> String {
    match policy.choose(volume) {
        Choice::Rule(name, _) => name.to_owned(),
        Choice::Nothing => "nothing".to_owned(),
        Choice::Ask => "ask".to_owned(),
    }
}

#[test]
fn each_key_matches_what_is_known_and_nothing_else() {
    let pod_uid = PodUid::parse(UID).unwrap();
    let devices = ["8:16", "/dev/sdb", "/dev/disk/by-id/wwn-1", "wwn-1"].map(str::to_owned).to_vec();
    let facts = Facts { devices, driver: Some("ebs.csi.aws.com".to_owned()) };
    let volume = VolumeRef {
        volume: "pvc-1",
        fstype: Some("ext4"),
        path: Some("/var/lib/kubelet/pods/x"),
        facts: Some(&facts),
        ..unknown(&pod_uid)
    };
    let none = Facts::default();
    let nothing_known = VolumeRef { facts: Some(&none), ..unknown(&pod_uid) };
    for (matches, expected) in [
        ("{fstype: ext4}", true),
        ("{fstype: 'ext?'}", true),
        ("{fstype: [xfs, btrfs]}", false),
        ("{path: /var/lib/kubelet/*}", true),
        ("{path: /var/lib/kubelet}", false),
        ("{device: '8:16'}", true),
        ("{device: /dev/sd?}", true),
        ("{device: 'wwn-*'}", true),
        ("{device: [/dev/sda, /dev/disk/by-id/wwn-1]}", true),
        ("{device: '8:1'}", false),
        ("{driver: '*.csi.aws.com'}", true),
        ("{driver: kubernetes.io/nfs}", false),
        ("{fstype: ext4, driver: '*', device: '*', path: '*', volume: pvc-*, podUid: '*'}", true),
        ("{fstype: ext4, device: '8:32'}", false),
    ] {
        let policy = parse(&with_match(matches));
        assert_eq!(rule_for(&policy, &volume), if expected { "a" } else { "nothing" }, "{matches}");
        assert_eq!(rule_for(&policy, &nothing_known), "nothing", "{matches}");
    }
}

#[test]
fn the_node_is_asked_only_when_a_rule_depends_on_it() {
    let pod_uid = PodUid::parse(UID).unwrap();
    let volume = |volume| VolumeRef { volume, fstype: Some("ext4"), ..unknown(&pod_uid) };
    let policy = parse(
        "rules:\n- {name: first, match: {volume: a}, limits: {writeBps: 2M}}\n\
         - {name: second, match: {volume: [a, b], fstype: ext4, driver: d}, limits: {writeBps: 3M}}\n",
    );
    assert_eq!(rule_for(&policy, &volume("a")), "first");
    assert_eq!(rule_for(&policy, &volume("b")), "ask");
    assert_eq!(rule_for(&policy, &volume("c")), "nothing");
}

#[test]
fn numbers_are_read_as_they_are_written() {
    for (text, value) in
        [("2000000", 2_000_000), ("2e6", 2_000_000), ("!!str 2M", 2_000_000), ("'2M'", 2_000_000), ("2.5M", 2_500_000)]
    {
        let policy = parse(&with_limits(&format!("writeBps: {text}")));
        assert_eq!(policy.rules[0].limits.write_bps, Some(value), "{text}");
    }
    let shared = "floor: {readBps: &n 2000000, writeBps: *n}\nrules: []";
    assert_eq!(parse(shared).floor.write_bps, Some(2_000_000));
}

#[test]
fn spelling_survives_what_editors_add() {
    let text = format!("# ä€\u{1f511}\n{}", with_limits("writeBps: 2e6, readBps: 3000000"));
    for text in [
        text.clone(),
        format!("\u{feff}{text}"),
        text.replace('\n', "\r\n"),
        format!("\u{feff}{}", text.replace('\n', "\r\n")),
    ] {
        let limits = parse(&text).rules[0].limits;
        assert_eq!((limits.write_bps, limits.read_bps), (Some(2_000_000), Some(3_000_000)), "{text:?}");
    }
    assert_eq!(
        refusal("\u{feff}mode: x\nrules: []".as_bytes()),
        "p.yaml:1:7: `x` is not a mode; write observe or enforce"
    );
    assert_eq!(refusal("{ä: 1}".as_bytes()).split(' ').next(), Some("p.yaml:1:2:"));
    assert_eq!(
        refusal("{takeOver: €5, rules: []}".as_bytes()),
        "p.yaml:1:12: `€5` is not a boolean; write true or false"
    );
}

#[test]
fn the_policy_itself_is_refused() {
    let table: &[(&str, &str)] = &[
        ("", "p.yaml:1:1: the policy is empty; write at least rules: []"),
        ("# nothing\n", "p.yaml:2:1: the policy is empty; write at least rules: []"),
        ("mode: observe\n", "p.yaml:1:1: the policy has no `rules`; write rules: and a list, which may be []"),
        (
            "- a\n",
            "p.yaml:1:1: the policy must be a map; write keys and values, of mode, floor, takeOver, exempt, allowDisks, rules",
        ),
        ("rules:\n", "p.yaml:1:6: `rules` must be a list; write a - before each rule, or [] for none"),
        (
            "mode: release\nrules: []\n",
            "p.yaml:1:7: `mode: release` is not supported by this version yet; it knows observe, enforce",
        ),
        ("rules: []\n---\nrules: []\n", "p.yaml:3:1: a second YAML document starts here; keep one policy in a file"),
        ("mode: on\nrules: []\n", "p.yaml:1:7: `on` is not a mode; write observe or enforce"),
        ("mode: [observe]\nrules: []\n", "p.yaml:1:7: `mode` must be a single value; write observe or enforce"),
        ("takeOver: yes\nrules: []\n", "p.yaml:1:11: `yes` is not a boolean; write true or false"),
        (
            "exempt: [kube-system]\nrules: []\n",
            "p.yaml:1:1: `exempt` is not supported by this version yet; write exempt: [] or leave it out",
        ),
        (
            "allowDisks:\n- byId: x\nrules: []\n",
            "p.yaml:1:1: `allowDisks` is not supported by this version yet; write allowDisks: [] or leave it out",
        ),
        (
            "rules: []\nrule: []\n",
            "p.yaml:2:1: `rule` is not a key of the policy; write one of mode, floor, takeOver, exempt, allowDisks, rules",
        ),
        (
            "mode: observe\nrules: []\nmode: enforce\n",
            "p.yaml:3:1: `mode` is there twice, first in line 1; keep one of the two",
        ),
        ("floor: {readBps: max}\nrules: []\n", "p.yaml:1:18: the floor of readBps cannot be max; write a number"),
        (
            "floor: {readBps: 1}\nrules: []\n",
            "p.yaml:1:18: readBps 1 is refused by the kernel; write 2 or more, or max for no limit",
        ),
    ];
    for (text, message) in table {
        assert_eq!(refusal(text.as_bytes()), *message, "{text}");
    }
}

#[test]
fn a_rule_is_refused() {
    let rule = |text: &str| format!("rules:\n- {text}\n");
    let example = "write the volumes it is for, as match: { volume: \"*\" }";
    let table: &[(String, String)] = &[
        (rule("a"), "p.yaml:2:3: a rule must be a map; write keys and values, of name, match, limits".into()),
        (
            rule("{match: {volume: x}, limits: {writeBps: 2M}}"),
            "p.yaml:2:3: the rule has no `name`; write one, which decisions and messages will show".into(),
        ),
        (
            rule("{name: , match: {volume: x}, limits: {writeBps: 2M}}"),
            "p.yaml:2:8: `name` is empty; write a name, which decisions and messages will show".into(),
        ),
        (
            rule("{name: ' ', match: {volume: x}, limits: {writeBps: 2M}}"),
            "p.yaml:2:10: the rule's name is empty or has control characters; write a readable name".into(),
        ),
        (rule("{name: a, limits: {writeBps: 2M}}"), format!("p.yaml:2:3: the rule `a` has no `match`; {example}")),
        (with_match("{}"), format!("p.yaml:2:20: the `match` of rule `a` is empty; {example}")),
        (with_match("~"), format!("p.yaml:2:20: the `match` of rule `a` is empty; {example}")),
        (
            with_match("{namespace: x}"),
            "p.yaml:2:21: `namespace` is not supported by this version yet; it knows volume, podUid, driver, fstype, device, path".into(),
        ),
        (with_match("{volumes: x}"), "p.yaml:2:21: `volumes` is not a key of `match`; write one of volume, podUid, driver, fstype, device, path".into()),
        (
            with_match("{path: pods/*}"),
            "p.yaml:2:27: `path` pods/* matches no path, since paths begin with /; write the whole path, or * before it".into(),
        ),
        (
            with_match("{volume: []}"),
            "p.yaml:2:29: `volume` is an empty list, which matches nothing; write a glob or a list of globs, as \"pvc-*\"".into(),
        ),
        (
            with_match("{volume: [x, '']}"),
            "p.yaml:2:33: a glob of `volume` is empty, which matches nothing; write a glob or a list of globs, as \"pvc-*\"".into(),
        ),
        (
            with_match("{volume: {x: y}}"),
            "p.yaml:2:29: `volume` must be a single value; write a glob or a list of globs, as \"pvc-*\"".into(),
        ),
        (
            rule("{name: a, match: {volume: x}}"),
            "p.yaml:2:3: the rule `a` has no `limits`; write them, as limits: { writeBps: 20M }".into(),
        ),
        (
            rule("{name: a, match: {volume: x}, limits: {writeBps: 2M}, claimMayRaiseTo: {}}"),
            "p.yaml:2:57: `claimMayRaiseTo` is not supported by this version yet; it knows name, match, limits".into(),
        ),
        (
            rule("{name: a, match: {volume: x}, limits: {writeBps: 2M}}\n- {name: a, match: {volume: y}, limits: {writeBps: 2M}}"),
            "p.yaml:3:10: two rules are named `a`, the first in line 2; give each its own name".into(),
        ),
    ];
    for (text, message) in table {
        assert_eq!(refusal(text.as_bytes()), *message, "{text}");
    }
}

#[test]
fn every_key_of_later_versions_is_refused_by_name() {
    for key in ["namespace", "pod", "podLabels", "claim", "claimLabels", "storageClass"] {
        let knows = "it knows volume, podUid, driver, fstype, device, path";
        let expected = format!("p.yaml:2:21: `{key}` is not supported by this version yet; {knows}");
        assert_eq!(refusal(with_match(&format!("{{{key}: x}}")).as_bytes()), expected);
    }
}

#[test]
fn a_limit_is_refused() {
    let nothing = "the rule `a` limits nothing; write a number for one of readBps, writeBps, readIops, writeIops, or remove the rule";
    let table: &[(&str, &str)] = &[
        ("", nothing),
        ("readBps: max", nothing),
        ("writeBps: 0", "writeBps 0 is refused by the kernel; write 2 or more, or max for no limit"),
        ("writeIops: 1", "writeIops 1 is refused by the kernel; write 2 or more, or max for no limit"),
        ("writeBps: 10m", "writeBps: `10m` is 10 thousandths, since a small m is milli; write 10M or 10Mi"),
        ("writeBps: 10K", "writeBps: `10K` has the suffix K, which is none; write 10k (1000) or 10Ki (1024)"),
        ("writeBps: -5", "writeBps: `-5` is negative; write a positive number, or max for no limit"),
        ("writeBps: 1.5", "writeBps: `1.5` is not a whole number; write one, as 1536 or 1.5Ki"),
        (
            "writeBps: fast",
            "writeBps: `fast` is not a quantity; write a number, alone or with one of k M G T P E (times 1000) or Ki Mi Gi Ti Pi \
             Ei (times 1024), as 20M or 50Mi",
        ),
        ("writeBps: ", "`writeBps` is empty; write a quantity, as 20M, or max for no limit"),
        ("writeBps: [2M]", "`writeBps` must be a single value; write a quantity, as 20M, or max for no limit"),
        (
            "readIops: 4294967295",
            "readIops 4294967295 is above 4294967294, where the kernel drops the limit silently; write 4294967294 or less, or \
             max for no limit",
        ),
        (
            "writeBps: 1048575",
            "writeBps 1048575 is below the floor of 1048576; write 1048576 or more, or lower floor.writeBps",
        ),
        ("readIops: 49", "readIops 49 is below the floor of 50; write 50 or more, or lower floor.readIops"),
        ("readbps: 2M", "`readbps` is not a key of limits; write one of readBps, writeBps, readIops, writeIops"),
        ("readBps: 2M, readBps: 3M", "`readBps` is there twice, first in line 2; keep one of the two"),
    ];
    for (text, message) in table {
        let shown = refusal(with_limits(text).as_bytes());
        let place = shown.split_once(": ").map_or("", |(place, _)| place);
        assert_eq!(shown, format!("{place}: {message}"), "{text}");
        let (line, column) = place.strip_prefix("p.yaml:").and_then(|rest| rest.split_once(':')).unwrap();
        let column = column.parse::<usize>().unwrap();
        assert_eq!((line, (41..=60).contains(&column)), ("2", true), "{shown}");
    }
    let floor = "floor: {writeBps: 5M}\nrules:\n- name: a\n  match: {volume: x}\n  limits:\n    writeBps: 4M\n";
    assert_eq!(
        refusal(floor.as_bytes()),
        "p.yaml:6:15: writeBps 4000000 is below the floor of 5000000; write 5000000 or more, or lower floor.writeBps"
    );
}

#[test]
fn what_is_no_yaml_has_a_place_and_a_cause() {
    let syntax = "the policy is not valid YAML here; correct the syntax";
    let table: &[(&str, &str)] =
        &[("rules: [\n", "p.yaml:1:8"), ("rules:\n\t- a\n", "p.yaml:2:2"), ("rules: *x\n", "p.yaml:1:8")];
    for (text, place) in table {
        let error = Policy::parse(text.as_bytes(), "p.yaml").unwrap_err();
        assert!(std::error::Error::source(&error).is_some(), "{text}");
        assert_eq!(error.to_string(), format!("{place}: {syntax}"), "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let deep = |levels| format!("rules: {}{}", "[".repeat(levels), "]".repeat(levels));
    let message = "the policy has more levels, or more aliases, than a policy needs; write it out plainly";
    assert_eq!(refusal(deep(17).as_bytes()), format!("p.yaml:1:23: {message}"));
    assert!(refusal(deep(400_000).as_bytes()).starts_with("p.yaml:1:"));
    assert!(refusal("[".repeat(1 << 20).as_bytes()).starts_with("p.yaml:1:"));
    assert!(refusal("- ".repeat(1 << 19).as_bytes()).starts_with("p.yaml:1:"));
    assert!(refusal("? ".repeat(1 << 19).as_bytes()).starts_with("p.yaml:1:"));
    assert!(refusal("{a: ".repeat(1 << 18).as_bytes()).starts_with("p.yaml:1:"));
}

#[test]
fn what_is_no_text_has_a_place() {
    let not_text = "the policy is not UTF-8 here; save the file as UTF-8";
    assert_eq!(refusal(b"\xff"), format!("p.yaml:1:1: {not_text}"));
    assert_eq!(refusal(b"mode: x\nr\xc3\xbcl\xff"), format!("p.yaml:2:4: {not_text}"));
}

proptest! {
    #[test]
    fn any_bytes_give_a_policy_or_a_place(bytes: Vec<u8>) {
        check(&bytes)?;
    }

    #[test]
    fn any_text_gives_a_policy_or_a_place(text in "(rules|mode|name|match|limits|writeBps|[-:{}\\[\\],&*!|>%@`'\"#?~ \t\n]|<<|2M|x|\\PC){0,40}") {
        check(text.as_bytes())?;
    }

    #[test]
    fn every_limit_in_range_comes_back(bytes in 1_048_576..u64::MAX, operations in 50..4_294_967_295_u64) {
        let policy = parse(&with_limits(&format!("readBps: {bytes}, writeIops: {operations}")));
        let expected = Limits { read_bps: Some(bytes), write_iops: Some(operations), ..Limits::NONE };
        prop_assert_eq!(policy.rules[0].limits, expected);
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Err(error) = Policy::parse(bytes, "p.yaml") else {
        return Ok(());
    };
    let message = error.to_string();
    let mut parts = message.splitn(4, ':');
    prop_assert_eq!(parts.next(), Some("p.yaml"));
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or_default();
    prop_assert!(number() > 0 && number() > 0, "{}", message);
    prop_assert!(message.contains("; "), "{}", message);
    Ok(())
}
