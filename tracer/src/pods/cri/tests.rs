//! The client against a runtime that answers as it is told.

mod stub;

use std::{error::Error, fs, time::Instant};

use proptest::prelude::*;
use prost::Message as _;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, runtime::Builder};

use self::stub::{Manner, Node, Stub, framed};
use super::{
    api::{Container, ContainerMetadata, ListContainersResponse, PodSandboxMetadata},
    *,
};
use crate::output::say::chain;

/// For a runtime that is waited for in vain.
const SHORT: Duration = Duration::from_millis(300);
/// For one that answers, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_mins(1);
const UID: &str = "0f7ca4d1-7b0c-4a4e-9d5e-5a1d2f3b4c5d";

fn id(text: &str) -> ContainerId {
    ContainerId::parse(&format!("{text:0<64}")).unwrap()
}

fn node() -> Node {
    let metadata = PodSandboxMetadata { name: "web-0".into(), uid: UID.into(), namespace: "shop".into(), attempt: 0 };
    let sandbox = PodSandbox { id: id("a").to_string(), metadata: Some(metadata), ..PodSandbox::default() };
    let container = Container {
        id: id("c").to_string(),
        pod_sandbox_id: id("a").to_string(),
        metadata: Some(ContainerMetadata { name: "nginx".into(), attempt: 0 }),
        ..Container::default()
    };
    let infos = [("a", r#"{"pid":7}"#), ("c", r#"{"sandboxID":"a","pid":42}"#)];
    Node {
        runtime: "containerd",
        sandboxes: vec![sandbox],
        containers: vec![container],
        infos: infos.map(|(name, text)| (id(name).to_string(), text.to_owned())).into(),
    }
}

/// A runtime and who asks it.
fn started(manner: Manner) -> (TempDir, Stub, Cri) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cri.sock");
    let stub = Stub::at(&path, manner);
    (dir, stub, Cri::new(path).with_deadline(PATIENCE))
}

/// The fault of a runtime of that manner, and all that is said of it.
async fn fault(manner: Manner) -> (&'static str, String) {
    fault_within(PATIENCE, manner).await
}

async fn fault_within(deadline: Duration, manner: Manner) -> (&'static str, String) {
    let (_dir, _stub, cri) = started(manner);
    let mut cri = cri.with_deadline(deadline);
    let error = cri.list().await.unwrap_err();
    (error.fault.name(), chain(&error).replace(&*cri.socket().to_string_lossy(), "SOCKET"))
}

#[tokio::test]
async fn all_that_a_runtime_has_is_named() {
    let (_dir, _stub, mut cri) = started(Manner::Serves(node()));
    let version = cri.version().await.unwrap();
    assert_eq!((&*version.runtime, version.version.as_str()), ("containerd", "v9"));
    let listing = cri.list().await.unwrap();
    let names = listing.named.iter().map(|named| (named.pod.as_str(), named.container.as_deref()));
    assert_eq!(names.collect::<Vec<_>>(), [("web-0", None), ("web-0", Some("nginx"))]);
    assert!(listing.named.iter().all(|named| &*named.runtime == "containerd"));
    assert_eq!(listing.nameless, 0);
}

#[tokio::test]
async fn one_is_found_by_its_id_among_containers_and_sandboxes() {
    let (_dir, _stub, mut cri) = started(Manner::Serves(node()));
    let container = cri.find(&id("c")).await.unwrap().unwrap();
    assert_eq!((container.pod.as_str(), container.container.as_deref()), ("web-0", Some("nginx")));
    let sandbox = cri.find(&id("a")).await.unwrap().unwrap();
    assert_eq!((sandbox.pod.as_str(), sandbox.container), ("web-0", None));
    assert_eq!(cri.find(&id("d")).await.unwrap(), None, "nobody has it");
    assert_eq!(cri.find(&id("c00000001")).await.unwrap(), None, "the runtime answers with another's");
}

#[tokio::test]
async fn the_pid_is_asked_of_containers_and_sandboxes() {
    let (_dir, _stub, mut cri) = started(Manner::Serves(node()));
    assert_eq!(cri.pid(&id("c")).await.unwrap(), Some(42));
    assert_eq!(cri.pid(&id("a")).await.unwrap(), Some(7));
    assert_eq!(cri.pid(&id("d")).await.unwrap(), None);
    let infos = vec![(id("c").to_string(), "{\"pid\":".to_owned())];
    let (_dir, _stub, mut cri) = started(Manner::Serves(Node { infos, ..node() }));
    assert_eq!(cri.pid(&id("c")).await.unwrap_err().fault.name(), "garbage");
}

#[tokio::test]
async fn a_runtime_that_is_started_again_is_met_again() {
    let (_dir, stub, mut cri) = started(Manner::Serves(node()));
    let path = cri.socket().to_owned();
    cri.list().await.unwrap();
    stub.end().await;
    assert_eq!(cri.list().await.unwrap_err().fault.name(), "nobody-listens");
    fs::remove_file(&path).unwrap();
    assert_eq!(cri.find(&id("c")).await.unwrap_err().fault.name(), "absent");
    let _stub = Stub::at(&path, Manner::Serves(Node { runtime: "cri-o", ..node() }));
    assert_eq!(&*cri.find(&id("c")).await.unwrap().unwrap().runtime, "cri-o");
}

#[tokio::test]
async fn a_runtime_that_hangs_is_not_waited_for() {
    for manner in [Manner::Silent, Manner::Idle, Manner::Halfway, Manner::Floods] {
        let begin = Instant::now();
        let (name, line) = fault_within(SHORT, manner).await;
        assert_eq!(name, "late");
        assert!(line.contains("no answer within 300ms"), "{line}");
        assert!(begin.elapsed() < PATIENCE / 2);
    }
}

#[tokio::test]
async fn who_hangs_up_is_said_to() {
    let (name, line) = fault(Manner::HangsUp).await;
    assert_eq!(name, "hung-up", "{line}");
}

#[tokio::test]
async fn garbage_is_said_to_be() {
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let manners = [
        Manner::Writes(not_found),
        Manner::Writes(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0"),
        Manner::Body(framed(b"\x0a\xff\xff")),
        Manner::Body(b"not gRPC at all".to_vec()),
        Manner::Body(Vec::new()),
    ];
    for manner in manners {
        let (name, line) = fault(manner).await;
        assert_eq!(name, "garbage", "{line}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_taken() {
    let length = u32::try_from(codec::MESSAGE + 1).unwrap();
    let (name, line) = fault(Manner::Body([&[0], length.to_be_bytes().as_slice()].concat())).await;
    assert_eq!(name, "too-large", "{line}");
    let many = ListContainersResponse { containers: vec![Container::default(); codec::ENTRIES + 1] };
    let (name, line) = fault(Manner::Body(framed(&many.encode_to_vec()))).await;
    assert_eq!(name, "too-large", "{line}");
}

#[tokio::test]
async fn a_large_answer_is_taken_whole() {
    let container = |number: u32| Container {
        id: id(&format!("{number:08x}")).to_string(),
        labels: [("io.kubernetes.pod.name".to_owned(), "p".repeat(200))].into(),
        pod_sandbox_id: id("a").to_string(),
        ..Container::default()
    };
    let node = Node { containers: (0..10_000).map(container).collect(), ..node() };
    let (_dir, _stub, mut cri) = started(Manner::Serves(node));
    let listing = cri.list().await.unwrap();
    assert_eq!(listing.named.len(), 10_001);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_runtimes_words_and_harmlessly() {
    let (name, line) = fault(Manner::Refuses(Code::Unimplemented, "unknown service runtime.v1".into())).await;
    assert_eq!(name, "no-cri");
    let expected = "cannot list pods and containers at the CRI socket SOCKET: it does not serve runtime.v1.RuntimeService; \
                    take `cri` off `disabled_plugins` of containerd, use 1.6 or newer, or name the socket that the \
                    kubelet uses: Unimplemented: \"unknown service runtime.v1\"";
    assert_eq!(line, expected);
    let (name, line) = fault(Manner::Refuses(Code::Unavailable, "%1B[2J".repeat(2000))).await;
    assert_eq!(name, "refused");
    assert!(line.contains(r#"Unavailable: "\u{1b}[2J"#), "{line}");
    assert!(line.len() < 3000 && !line.contains('\u{1b}'), "{line}");
}

#[tokio::test]
async fn what_is_no_socket_is_said_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let said = async |path: PathBuf| chain(&Cri::new(path).list().await.unwrap_err());
    let socket = |path: &Path| format!("cannot list pods and containers at the CRI socket {}", path.display());
    let expected = format!("{}: it is no socket; name the runtime's socket", socket(&file));
    assert_eq!(said(file).await, expected);
    assert!(said(dir.path().to_owned()).await.contains("it is no socket"));
    let absent = dir.path().join("absent");
    let expected = format!(
        "{}: nothing is there; start the runtime, give the agent the node's /run, or name the socket: No such file or \
         directory (os error 2)",
        socket(&absent)
    );
    assert_eq!(said(absent).await, expected);
}

#[tokio::test]
async fn a_task_may_ask() {
    fn is_send<T: Send>(task: T) -> T {
        task
    }
    let (_dir, _stub, mut cri) = started(Manner::Serves(node()));
    assert!(is_send(cri.list()).await.is_ok());
    assert!(is_send(cri.find(&id("c"))).await.is_ok());
    assert!(is_send(cri.pid(&id("c"))).await.is_ok());
    let error: &(dyn Error + Send + Sync) = &CriError::new("test", Path::new("/"), Fault::NoSocket);
    assert!(error.source().is_none(), "the fault is told with the error");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_peer_writes_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..512), settings in any::<bool>()) {
        // An empty frame of settings is how a server begins.
        let start: &[u8] = if settings { &[0, 0, 0, 4, 0, 0, 0, 0, 0] } else { &[] };
        let answer = Builder::new_current_thread().enable_io().build().unwrap().block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(start).await.unwrap();
            theirs.write_all(&bytes).await.unwrap();
            theirs.shutdown().await.unwrap();
            wire::over(ours, async |mut client| version(&mut client).await).await
        });
        prop_assert!(answer.is_err());
    }
}
