//! Questions from any bytes, and answers as the contract has them.

use proptest::prelude::*;

use super::*;
use crate::{
    host::{
        Disk,
        disk::{births::Disks, uevent::DiskEvent},
    },
    mirror::ReadReason,
    pods::{cgroup_path::owner_of, owners::Role},
};

fn refused(line: &str) -> String {
    Question::parse(line.as_bytes()).unwrap_err().to_string()
}

fn row() -> MountRow {
    MountRow {
        mount_id: 12,
        mount_id_unique: Some(Id(2_147_484_460)),
        parent_id: 11,
        dev: Dev { major: 8, minor: 1 },
        mountpoint: Id(u64::MAX),
        root: Id(456),
        superblock: Id(789),
        attributes: Attributes(0x60),
        unbindable: false,
        group: Some(5),
        master: None,
    }
}

fn container() -> NamespaceOwner {
    let owner = owner_of(&format!("/docker/{}", "a".repeat(64)));
    NamespaceOwner { home: Home { owner: Arc::new(owner), role: Role::Container }, named: None }
}

fn lines(answer: &Answer) -> Vec<String> {
    answer.lines().map(Result::unwrap).collect()
}

#[test]
fn questions_are_known_by_name() {
    for (name, question) in Question::NAMES {
        for line in [
            format!(r#"{{"version":1,"query":"{name}"}}"#),
            format!("  {{ \"query\": \"{name}\", \"version\": 1 }} \r\n"),
        ] {
            assert_eq!(Question::parse(line.as_bytes()).unwrap(), question, "{line}");
        }
    }
}

#[test]
fn what_is_no_question_is_named() {
    for (line, named) in [
        ("", "not JSON"),
        ("tables", "not JSON"),
        (r#"{"version":1,"query":"tables"} {"#, "not JSON"),
        ("[]", "not a JSON object"),
        (r#"{"query":"tables"}"#, "no \"version\""),
        (r#"{"version":2,"query":"tables"}"#, "version 2 is not known"),
        (r#"{"version":1.0,"query":"tables"}"#, "version 1.0 is not known"),
        (r#"{"version":"1","query":"tables"}"#, "version \"1\" is not known"),
        (r#"{"version":1}"#, "no \"query\""),
        (r#"{"version":1,"query":"Tables"}"#, "query \"Tables\" is not known"),
        (r#"{"version":1,"query":null}"#, "query null is not known"),
        (r#"{"version":1,"query":"tables","mntns":4}"#, "field \"mntns\" is not known"),
    ] {
        let error = refused(line);
        assert!(error.starts_with(named), "{line:?}: {error}");
    }
    // A version of its own may have other queries and fields: the version is what is wrong.
    assert!(refused(r#"{"version":2,"query":"who","path":"/"}"#).starts_with("version 2"));
}

#[test]
fn a_question_has_at_most_so_many_bytes() {
    let padded = |bytes: usize| format!("{:<bytes$}", r#"{"version":1,"query":"audit"}"#);
    assert_eq!(Question::parse(padded(QUESTION_BYTES).as_bytes()).unwrap(), Question::Audit);
    assert!(matches!(Question::parse(padded(QUESTION_BYTES + 1).as_bytes()), Err(QuestionError::TooLong)));
    assert!(Question::parse(format!("{}\n", padded(QUESTION_BYTES)).as_bytes()).is_ok(), "its end does not count");
}

#[test]
fn an_answer_is_a_line_for_each_table_and_an_end() {
    let mut reads = ReadCounts::default();
    reads.add(ReadReason::Start);
    let table = Table {
        mntns: 4_026_531_841,
        mntns_id: Some(Id(1)),
        state: "exact",
        owner: Some(container()),
        mounts: vec![row()],
    };
    let end = End {
        tables: States { exact: 1, ..States::default() },
        detached: 2,
        sections: 1234,
        reads,
        doubted: 3,
        audited: 7,
        differences: vec!["a\n\"b\"".to_owned()],
    };
    let expected = [
        concat!(
            r#"{"version":1,"mntns":4026531841,"mntns_id":"1","state":"exact","owner":{"pod_uid":null,"namespace":null,"pod":null,"#,
            r#""container":null,"container_id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","image":null,"#,
            r#""role":"container","runtime":"docker","qos_class":null},"mounts":[{"mount_id":12,"#,
            r#""mount_id_unique":"2147484460","parent_id":11,"dev":"8:1","mountpoint":"18446744073709551615","#,
            r#""root":"456","superblock":"789","attributes":["MOUNT_ATTR_RELATIME","MOUNT_ATTR_RDONLY"],"#,
            r#""unbindable":false,"group":5,"master":null}]}"#,
            "\n"
        ),
        "{\"version\":1,\"detached\":[]}\n",
        concat!(
            r#"{"version":1,"end":true,"tables":{"exact":1,"dirty":0,"unread":0},"detached":2,"sections":1234,"#,
            r#""reads":{"start":1,"met":0,"lost":0,"count":0,"attributes":0,"asked":0},"doubted":3,"audited":7,"#,
            r#""differences":["a\n\"b\""]}"#,
            "\n"
        ),
    ];
    assert_eq!(
        lines(&Answer { tables: vec![table], detached: Some(Detached::default()), end, ..Answer::default() }),
        expected
    );
}

#[test]
fn a_section_is_a_line() {
    let changes = vec![ChangeRow { what: "attach", mntns: Some(4_026_531_841), id: Some(12) }];
    let (section, boot_ns) = (Id(7), Id(u64::MAX));
    let row = SectionRow { section, boot_ns, pid: None, syscall: Some("mount"), complete: true, changes, more: 3 };
    let expected = concat!(
        r#"{"version":1,"section":"7","boot_ns":"18446744073709551615","pid":null,"syscall":"mount","complete":true,"#,
        r#""changes":[{"what":"attach","mntns":4026531841,"id":12}],"more":3}"#,
        "\n"
    );
    assert_eq!(lines(&Answer { sections: vec![row], ..Answer::default() })[0], expected);
}

#[test]
fn disks_are_a_line() {
    let mut known = Disks::default();
    let disk = |minor, diskseq| Disk { dev: Dev { major: 7, minor }, name: format!("loop{minor}"), diskseq };
    known.listed(9, &[disk(0, Some(u64::MAX)), disk(1, Some(5)), disk(2, None)]);
    known.event(&DiskEvent { seqnum: 10, disk: disk(1, Some(5)), gone: true });
    let expected = concat!(
        r#"{"version":1,"disks":[{"dev":"7:0","name":"loop0","diskseq":"18446744073709551615","nth":null},"#,
        r#"{"dev":"7:2","name":"loop2","diskseq":null,"nth":"3"}],"born":"3","gone":"1","lists":"1"}"#,
        "\n"
    );
    let answer = Answer { disks: Some(DisksRow::of(&known)), ..Answer::default() };
    assert_eq!((lines(&answer)[0].as_str(), lines(&answer).len()), (expected, 2));
}

#[test]
fn what_is_not_known_is_null() {
    let row = serde_json::to_value(MountRow { mount_id_unique: None, group: None, ..row() }).unwrap();
    assert_eq!((&row["mount_id_unique"], &row["group"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_refusal_is_a_last_line() {
    assert_eq!(refusal("no \"x\"").unwrap(), "{\"version\":1,\"end\":true,\"error\":\"no \\\"x\\\"\"}\n");
}

/// A line that is nearly a question.
fn nearly() -> impl Strategy<Value = String> {
    let version = prop_oneof!["1", "[0-9]{1,3}", "\"1\"", "null", "1e0"];
    let query = prop_oneof!["\"tables\"", "\"audit\"", "\"[a-z]{0,8}\"", "[0-9]", "\\{\\}"];
    let rest = prop_oneof!["", ",\"x\":1", "[,}\\]]{1,2}", ",\"query\":\"audit\""];
    (version, query, rest)
        .prop_map(|(version, query, rest)| format!(r#"{{"version":{version},"query":{query}{rest}}}"#))
}

proptest! {
    #[test]
    fn any_bytes_are_a_question_or_a_refusal_of_one_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = Question::parse(&bytes) {
            let refusal = refusal(&error.to_string()).unwrap();
            prop_assert_eq!(refusal.matches('\n').count(), 1);
            prop_assert!(serde_json::from_str::<Value>(&refusal).is_ok());
        }
    }

    #[test]
    fn a_line_that_is_nearly_a_question_is_one_or_names_what_is_wrong(line in nearly()) {
        let (parsed, json) = (Question::parse(line.as_bytes()), serde_json::from_str::<Value>(&line));
        match (parsed, json) {
            (Ok(_), Ok(json)) => {
                prop_assert_eq!(&json["version"], &Value::from(1));
                prop_assert_eq!(json.as_object().map(serde_json::Map::len), Some(2));
            }
            (Ok(question), Err(error)) => prop_assert!(false, "{question:?} of what is not JSON: {error}"),
            (Err(QuestionError::NotJson(_)), json) => prop_assert!(json.is_err()),
            (Err(error), _) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn every_line_of_an_answer_is_json_with_one_end(
        ids in prop::collection::vec((any::<u32>(), any::<Option<u64>>(), any::<Option<u64>>()), 0..8),
        difference in ".*",
    ) {
        let mounts = |unique| vec![MountRow { mount_id_unique: Option::map(unique, Id), ..row() }];
        let table = |(mntns, mntns_id, unique)| Table { mntns, mntns_id: Option::map(mntns_id, Id), state: "dirty", owner: None, mounts: mounts(unique) };
        let tables: Vec<Table> = ids.into_iter().map(table).collect();
        let end = End { differences: vec![difference], ..End::default() };
        let answer = Answer { tables, end, ..Answer::default() };
        let lines = lines(&answer);
        let parsed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(parsed.len(), answer.tables.len() + 1);
        prop_assert!(lines.iter().all(|line| line.matches('\n').count() == 1));
        let ends = parsed.iter().filter(|line| line["end"] == true).count();
        prop_assert_eq!((ends, parsed.last().map(|last| &last["end"])), (1, Some(&Value::Bool(true))));
        for (line, table) in parsed.iter().zip(&answer.tables) {
            let id = table.mntns_id.map(|id| id.0.to_string());
            prop_assert_eq!(line["mntns_id"].as_str(), id.as_deref());
        }
    }
}
